/* N messages of 64 bytes from one process to another: posix|sysv N. */
#define _GNU_SOURCE
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/wait.h>
#include <unistd.h>

static char body[8192 + sizeof(long)];

static void posix(long n)
{
	char name[64];
	snprintf(name, sizeof name, "/ipcutils-bench-c-%d", getpid());
	mqd_t queue = mq_open(name, O_CREAT | O_EXCL | O_RDWR, 0600, NULL);
	if (queue == -1)
		exit(1);
	mq_unlink(name);
	if (fork() == 0) {
		while (n-- > 0)
			if (mq_receive(queue, body, 8192, NULL) != 64)
				_exit(1);
		_exit(0);
	}
	while (n-- > 0)
		if (mq_send(queue, body, 64, 0) != 0)
			exit(1);
}

static void sysv(long n)
{
	int queue = msgget(IPC_PRIVATE, 0600), status;
	if (queue == -1)
		exit(1);
	*(long *)body = 1;
	if (fork() == 0) {
		while (n-- > 0)
			if (msgrcv(queue, body, 8192, 0, 0) != 64)
				_exit(1);
		_exit(0);
	}
	while (n-- > 0)
		if (msgsnd(queue, body, 64, 0) != 0)
			exit(1);
	wait(&status);
	msgctl(queue, IPC_RMID, NULL);
	exit(status != 0);
}

int main(int argc, char **argv)
{
	int status;
	long n = atol(argv[argc - 1]);
	if (strcmp(argv[1], "posix") == 0)
		posix(n);
	else
		sysv(n);
	wait(&status);
	return status != 0;
}
