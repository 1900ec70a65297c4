/* The floor: an epoll loop that reads whatever comes and answers "ok" without having looked at it.
 *
 *     floor PORT [close]
 *
 * One process, one thread, level-triggered. With "close" it closes each connection after its answer. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char KEEP[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";
static const char CLOSE[] =
    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok";

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int listen_at(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) ||
        bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096))
        fail("listen");
    return fd;
}

static void watch(int loop, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event))
        fail("epoll_ctl");
}

static void accept_all(int loop, int listener) {
    int yes = 1, fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        watch(loop, fd);
    }
}

static void answer(int fd, int once) {
    static char buffer[65536];
    ssize_t size = recv(fd, buffer, sizeof buffer, 0);
    if (size > 0)
        size = send(fd, once ? CLOSE : KEEP, once ? sizeof CLOSE - 1 : sizeof KEEP - 1, MSG_NOSIGNAL);
    if (size <= 0 || once)
        close(fd);
}

int main(int argc, char **argv) {
    struct epoll_event ready[256];
    if (argc < 2)
        return 2;
    int listener = listen_at(atoi(argv[1])), loop = epoll_create1(0), once = argc > 2;
    watch(loop, listener);
    for (;;) {
        int count = epoll_wait(loop, ready, 256, -1);
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == listener)
                accept_all(loop, listener);
            else
                answer(ready[i].data.fd, once);
        }
    }
}
