//! ipcls --watch, in a real terminal and as documents.

use nix::sys::signal::Signal;

use crate::util::{Test, wait_until};

/// A terminal of its own, with a shell in it.
struct Tmux<'t> {
    t: &'t Test,
}

impl<'t> Tmux<'t> {
    fn new(t: &'t Test, columns: u16, rows: u16) -> Option<Self> {
        if t.lacks("tmux") {
            return None;
        }
        let tmux = Tmux { t };
        let size = [columns, rows].map(|n| n.to_string());
        let shell =
            ["-f", "/dev/null", "new-session", "-d", "-x", &size[0], "-y", &size[1], "exec env PS1='$ ' bash --norc"];
        tmux.run(&shell).ok();
        tmux.shows("$");
        Some(tmux)
    }

    fn run(&self, args: &[&str]) -> crate::util::Output {
        // The name of a socket has little room, so it is below the directory.
        self.t.cmd("tmux").args(["-S", "tmux"]).args(args).env("LC_ALL", "C.UTF-8").run()
    }

    fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat()).ok();
    }

    fn command(&self, line: &str) {
        self.keys(&["-l", line]);
        self.keys(&["Enter"]);
    }

    fn screen(&self, args: &[&str]) -> String {
        self.run(&[&["capture-pane", "-p"], args].concat()).text()
    }

    #[track_caller]
    fn shows(&self, words: &str) -> String {
        let mut screen = String::new();
        wait_until(&format!("the terminal shows {words:?}"), || {
            screen = self.screen(&[]);
            screen.contains(words)
        });
        screen
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        let _ = self.run(&["kill-server"]);
    }
}

#[test]
fn it_is_drawn_anew_until_q_and_the_terminal_is_as_before() {
    let Some(t) = Test::with(&["perl", "POSIX queues"]) else { return };
    let Some(tmux) = Tmux::new(&t, 80, 24) else { return };
    let (queue, set, segment) = (t.queue("q"), t.key(), t.name("seg"));
    t.bash(&format!("mqsend -c --max-messages 8 --message-size 64 {queue} a; echo x | shmput {segment}")).run().ok();
    t.bash(&format!("perl -e 'semget({set}, 2, 01600) // die'")).run().ok();
    tmux.command("stty -a >before");
    tmux.command("echo the line before");
    let watch = format!("ipcls --watch=.05 mq:{queue} sem:{set} shm:{segment}");
    tmux.command(&watch);
    let screen = tmux.shows("1/8");
    let first = screen.lines().next().unwrap();
    assert!(first.starts_with("3 objects, 3 idle") && first.ends_with("q quits"), "{screen}");
    assert!(screen.contains("HISTORY") && screen.contains(&format!("sem:key:{set}")), "{screen}");
    assert!(!screen.contains("the line before"), "{screen}");
    t.bash(&format!("for i in 1 2 3 4 5 6 7; do mqsend {queue} x; done")).run().ok();
    let screen = tmux.shows("8/8");
    assert!(tmux.shows("█").contains('▁') || screen.contains('▁'), "{screen}");
    // Keys that mean nothing do nothing; another size is drawn at once.
    tmux.keys(&["x"]);
    tmux.run(&["resize-window", "-x", "60", "-y", "10"]).ok();
    wait_until("it is drawn in 60 columns", || {
        tmux.screen(&[]).lines().next().is_some_and(|line| line.chars().count() == 60)
    });
    tmux.keys(&["q"]);
    tmux.shows("the line before");
    tmux.command("echo status $?; stty rows 24 columns 80; stty -a >after");
    tmux.shows("status 0");
    wait_until("the settings are saved", || std::fs::read(t.path("after")).is_ok_and(|text| !text.is_empty()));
    let settings = |name: &str| std::fs::read_to_string(t.path(name)).unwrap();
    assert_eq!(settings("before"), settings("after"));
    // The cursor is there again, and what is typed is seen.
    assert_eq!(tmux.run(&["display", "-p", "#{cursor_flag} #{alternate_on} #{wrap_flag}"]).text(), "1 0 1");
}

#[test]
fn an_interrupt_a_death_and_a_stop_give_the_terminal_back() {
    let t = Test::new();
    let Some(tmux) = Tmux::new(&t, 80, 24) else { return };
    let segment = t.name("seg");
    t.bash(&format!("echo x | shmput {segment}")).run().ok();
    let state = || tmux.run(&["display", "-p", "#{cursor_flag} #{alternate_on} #{wrap_flag}"]).text();
    let watch = format!("ipcls --watch=.05 shm:{segment}");
    tmux.command(&watch);
    tmux.shows("q quits");
    assert_eq!(state(), "0 1 0");
    tmux.keys(&["C-c"]);
    tmux.shows("$");
    tmux.command("echo status $?");
    tmux.shows("status 130");
    assert_eq!(state(), "1 0 1");
    // By another process, and stopped in between, by key and by signal.
    tmux.command(&format!("{watch}; echo status $?"));
    tmux.shows("q quits");
    let shell = tmux.run(&["display", "-p", "#{pane_pid}"]).text();
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
    let pid = children.trim();
    tmux.keys(&["C-z"]);
    tmux.shows("Stopped");
    assert_eq!(state(), "1 0 1");
    tmux.command("stty -a | grep -o -- '[-]*icanon'; fg");
    tmux.shows("q quits");
    t.bash(&format!("kill -STOP {pid}")).run().ok();
    tmux.shows("Stopped");
    tmux.command("fg");
    t.bash(&format!("echo xx | shmput {segment}")).run().ok();
    tmux.shows("q quits");
    t.bash(&format!("kill -TERM {pid}")).run().ok();
    tmux.shows("icanon");
    wait_until("the terminal is as before", || state() == "1 0 1");
    assert!(!tmux.screen(&[]).contains("-icanon"));
}

#[test]
fn no_colour_and_no_unicode_where_they_are_not_wanted() {
    let Some(t) = Test::with(&["perl", "POSIX queues"]) else { return };
    let Some(tmux) = Tmux::new(&t, 80, 24) else { return };
    let (key, queue) = (t.key(), t.queue("q"));
    t.bash(&format!(
        "perl -e '$i = shmget({key}, 1, 01600) // die; shmwrite($i, 1, 0, 1)'; mqsend -c --max-messages 8 --message-size 64 {queue} a b"
    ))
    .run()
    .ok();
    for (i, prefix) in ["", "NO_COLOR=1", "TERM=dumb"].into_iter().enumerate() {
        // What it printed is on the screen when the line after it is.
        tmux.command(&format!("clear; {prefix} ipcls --older 0 shm:{key} -o state,size; echo ended $(({i}))"));
        tmux.shows(&format!("ended {i}"));
        let screen = tmux.screen(&["-e"]);
        assert!(screen.contains("orphan") && screen.contains("\x1b[31morphan") == (i == 0), "{prefix}: {screen:?}");
        assert!(i == 0 || !screen.contains("\x1b[31m"), "{prefix}: {screen:?}");
    }
    tmux.command(&format!("LC_ALL=C ipcls --watch=.05 mq:{queue}"));
    let screen = tmux.shows(":::");
    assert!(screen.is_ascii(), "{screen}");
    // An object that goes is left out, and said below.
    t.cmd("ipcunlink").args([format!("mq:{queue}")]).run().ok();
    tmux.shows("0 objects");
    tmux.shows("does not exist");
    tmux.keys(&["q"]);
}

#[test]
fn more_objects_than_the_window_has_lines() {
    let t = Test::new();
    let Some(tmux) = Tmux::new(&t, 80, 8) else { return };
    t.bash(&format!("for i in {{1..9}}; do echo x | shmput {}$i; done", t.name("n"))).run().ok();
    tmux.command(&format!("ipcls --watch=.05 --kind shm --name '{}*'", t.name("n")));
    let screen = tmux.shows("9 objects");
    assert!(screen.lines().count() <= 8 && screen.contains(" more, for which"), "{screen}");
    tmux.keys(&["q"]);
}

/// A line that is cut ends with a mark, and the counts are for a terminal alone.
#[test]
fn m4_what_is_cut_is_marked_and_what_is_counted_stands_below() {
    let t = Test::new();
    let Some(tmux) = Tmux::new(&t, 60, 24) else { return };
    let name = t.name(format!("{}-end", "long".repeat(20)));
    t.bash(&format!("echo x | shmput {name}")).run().ok();
    let pattern = format!("{}long*", &t.name("")[1..]);
    for (locale, mark) in [("C.UTF-8", '…'), ("C", '+')] {
        tmux.command(&format!("clear; LC_ALL={locale} ipcls --watch=.05 --kind shm --name '{pattern}'"));
        let screen = tmux.shows(&mark.to_string());
        assert!(!screen.contains("-end"), "{screen}");
        let line = screen.lines().find(|line| line.contains("shm:/")).unwrap();
        assert!(line.chars().count() <= 60 && line.ends_with(mark), "{screen}");
        tmux.keys(&["q"]);
        tmux.command(&format!("clear; ipcls --kind shm --name '{pattern}' -o size,mode; echo en''ded {locale}"));
        let screen = tmux.shows(&format!("ended {locale}"));
        assert!(screen.contains("1 object\n"), "{screen}");
    }
    let piped = t.cmd("ipcls").args(["--kind", "shm", "--name", &pattern, "-o", "size,mode"]).run().text();
    assert_eq!(piped.lines().count(), 2, "{piped}");
}

#[test]
fn as_json_a_document_a_line_and_tick() {
    let t = Test::new();
    let key = t.key();
    t.bash(&format!("echo x | shmput {key}")).run().ok();
    let mut watch = t.cmd("ipcls").args(["-J", "--watch=.01", &format!("shm:{key}")]).spawn();
    let mut lines = std::io::BufReader::new(watch.child.stdout.take().unwrap());
    let mut next = || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut lines, &mut line).unwrap();
        serde_json::from_str::<serde_json::Value>(&line).unwrap()
    };
    for _ in 0..3 {
        assert_eq!(next()["objects"][0]["size"], 2);
    }
    t.cmd("ipcunlink").args([format!("shm:{key}")]).run().ok();
    wait_until("it is seen to be gone", || next()["objects"].as_array().unwrap().is_empty());
    assert!(next()["errors"][0].as_str().unwrap().contains("does not exist"));
    watch.kill(Signal::SIGTERM);
    assert_eq!(watch.end().code(), None);
}
