/* Reads and writes rings by ipcutils-ring(5) alone: ring read|write /NAME */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static char *map, block[1 << 16];
static int fd;
#define LONG(at) (*(_Atomic uint64_t *)(map + (at)))
#define WORD(at) (*(_Atomic uint32_t *)(map + (at)))
#define SLOT(i) LONG(4096 + 128 * (i))
#define AT(i) LONG(4104 + 128 * (i))
#define CAPACITY LONG(16)
#define BYTE(at) map[12288 + ((at) - LONG(24)) % CAPACITY]
#define PLACE(state) (320 + 64 * ((state) >> 32 & 1))
#define START(state) LONG(PLACE(state))
#define LETTER(word, n) ((char)((word) >> 8 * (n)))
#define LETTERS(number, a, b, c, d) ((uint64_t)(number) << 32 | a | b << 8 | c << 16 | d << 24)
#define FENCE atomic_thread_fence(memory_order_seq_cst)
static int lock(int command, short type, int byte) {
    struct flock f = {.l_type = type, .l_whence = SEEK_SET, .l_start = (1LL << 62) + byte, .l_len = 1};
    return fcntl(fd, command, &f) == 0 && (command != F_OFD_GETLK || f.l_type == F_UNLCK);
}
static void futex(int at, int op, int value) { syscall(SYS_futex, map + at, op, value, &(long[2]){1, 0}); }
static int may_wait(int at) { int now = WORD(at); WORD(at + 4) = 1; FENCE; return now; }
static void wake(int at) { if (FENCE, WORD(at + 4)) WORD(at + 4) = 0, WORD(at)++, futex(at, FUTEX_WAKE, INT32_MAX); }
static uint64_t later(uint64_t a, uint64_t b) { return (int64_t)(a - b) < 0 ? b : a; }
static uint64_t oldest(void) { return later(START(LONG(88)), LONG(72) - CAPACITY); }
static uint64_t sum(const void *bytes, int n) {
    uint64_t sum = 0xcbf29ce484222325;
    for (const unsigned char *byte = bytes; n--; byte++) sum = (sum ^ *byte) * 0x100000001b3;
    return sum;
}
static uint64_t begun(uint64_t state) { return sum((uint64_t[]){(state & ~0xffffULL) | 'o' | '1' << 8, START(state)}, 16); }
static uint64_t sealed(uint64_t state) { return sum((uint64_t[]){(state & ~255ULL) | 'e', START(state), LONG(64), LONG(72)}, 32); }
static int whole(uint64_t state) { return LONG(PLACE(state) + 8) == begun(state); }
static void leave(int slot) {
    uint64_t at = AT(slot), now = LONG(256);
    while (later(now, at) != now && !atomic_compare_exchange_weak(&LONG(256), &now, at)) {}
    SLOT(slot) = 0, wake(192);
}
static int lives(int slot) { // If not, what a dead reader left is seen to.
    if (!SLOT(slot) || !lock(F_OFD_SETLK, F_WRLCK, 16 + slot)) return SLOT(slot) != 0;
    if (LETTER(SLOT(slot), 0) == 'a') leave(slot);
    else if (LETTER(LONG(88), 2) == 'w' && LONG(64) - AT(slot) > CAPACITY)
        LONG(4112 + 128 * slot) = LONG(4120 + 128 * slot) = AT(slot) = oldest(), wake(192);
    return lock(F_OFD_SETLK, F_UNLCK, 16 + slot), 0;
}
static int reads(void) {
    int slot = 0;
    lock(F_OFD_SETLKW, F_WRLCK, 2);
    for (; lives(slot) || SLOT(slot) || !lock(F_OFD_SETLK, F_WRLCK, 16 + slot); slot++) if (slot == 63) return 9;
    uint64_t state = LONG(88), generation = state >> 32, at = AT(slot) = oldest(), head, now, n, from;
    if (!whole(state)) return 8;
    SLOT(slot) = LETTERS(generation, 'a', 'n', 'o', 'n');
    while (FENCE, LETTER(state, 2) == 'w' && (from = later(at, oldest())) != at) AT(slot) = at = from;
    lock(F_OFD_SETLK, F_UNLCK, 2), wake(192);
    for (;;) {
        int seen = may_wait(128);
        state = LONG(88), head = LONG(64), now = LONG(88);
        if (now >> 32 != generation) return leave(slot), LETTER(now, 3) == 'x' ? 7 : 0;
        if ((LETTER(now, 2) == 'w' && head - at > CAPACITY) || later(head, LONG(96)) != LONG(96)) return 8;
        for (n = 0; n < sizeof block && at + n != head; n++) block[n] = BYTE(at + n);
        from = LETTER(now, 2) == 'w' ? at : (FENCE, later(at, oldest()));
        if (from - at < n) write(1, block + (from - at), n - (from - at));
        if (n) AT(slot) = at = later(at + n, from), wake(192);
        else if (LETTER(state, 0) == 'e') return leave(slot), LONG(PLACE(state) + 16) == sealed(state) ? 0 : 8;
        else if (LETTER(state, 1) == 'm' || !lock(F_OFD_GETLK, F_WRLCK, 0)) futex(128, FUTEX_WAIT, seen);
        else if (LONG(64) == head && LONG(88) == state) return leave(slot), 7;
    }
}
static uint64_t room(uint64_t head) {
    uint64_t most = head - LONG(256), readers = 0, lag;
    for (int i = 0; i < 64; i++) if (SLOT(i)) lag = head - AT(i), most = readers++ && most > lag ? most : lag;
    return most > CAPACITY ? 0 : CAPACITY - most;
}
static int writes(void) {
    if (!lock(F_OFD_SETLK, F_WRLCK, 0)) return 75;
    uint64_t state = LONG(88), head = LONG(64), next = (state >> 32) + 1, n, want;
    if (LETTER(state, 0) != 'e') return 7;
    lock(F_OFD_SETLKW, F_WRLCK, 2);
    for (int i = 0, seen = may_wait(192); i < 64; i++)
        if (lives(i) ? AT(i) != head || SLOT(i) >> 32 != state >> 32 : SLOT(i) && AT(i) != head) {
            lock(F_OFD_SETLK, F_UNLCK, 2), futex(192, FUTEX_WAIT, seen);
            lock(F_OFD_SETLKW, F_WRLCK, 2), seen = may_wait(192), i = -1;
        }
    for (int i = 0; i < 64; i++) if (!lives(i) && SLOT(i)) SLOT(i) = LETTERS(next, 'n', 'a', 'm', 'e');
    state = LETTERS(next, 'o', '1', 'w', 'e'), START(state) = LONG(256) = head;
    LONG(PLACE(state) + 8) = begun(state), LONG(88) = state, LONG(72) = head;
    lock(F_OFD_SETLK, F_UNLCK, 2), wake(128);
    while ((n = read(0, block, sizeof block)) + 1 > 1)
        for (uint64_t done = 0; done < n;) {
            int seen = may_wait(192);
            for (int i = 0; i < 64 && !room(head); i++) lives(i);
            if (!(want = room(head))) futex(192, FUTEX_WAIT, seen);
            LONG(72) = head + (want = want < n - done ? want : n - done), FENCE;
            for (uint64_t now = room(head); now && want; now--, want--) BYTE(head++) = block[done++];
            LONG(96) = head, LONG(64) = head, LONG(72) = head, wake(128);
        }
    return LONG(PLACE(state) + 16) = sealed(state), LONG(88) = (state & ~255ULL) | 'e', wake(128), 0;
}
int main(int argc, char **argv) {
    if ((fd = shm_open(argv[argc - 1], O_RDWR, 0)) < 0) return 3;
    map = mmap(NULL, lseek(fd, 0, SEEK_END), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED || memcmp(map, "\x89ipcring", 8) || WORD(8) != 2 || LONG(32) != sum(map, 32)) return 8;
    return strcmp(argv[1], "read") ? writes() : reads();
}
