/* Preloaded into a server: its writes or syncs of files fail with EIO while the byte in FAILING_DISK_FLAG says so. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static volatile const char *flag;

__attribute__((constructor)) static void map_flag(void) {
    const char *path = getenv("FAILING_DISK_FLAG");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *page = mmap(NULL, 1, PROT_READ, MAP_SHARED, fd, 0);
    if (page != MAP_FAILED) flag = page;
    close(fd);
}

static int fails(int fd, char kind) {
    struct stat about;
    /* Not the log, to which standard output goes. */
    if (!flag || *flag != kind || fd <= STDERR_FILENO) return 0;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode)) return 0;
    errno = EIO;
    return 1;
}

#define FAILING(type, name, kind, parameters, ...)                     \
    type name parameters {                                             \
        static type (*real) parameters;                                \
        if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name);          \
        return fails(fd, kind) ? -1 : real(__VA_ARGS__);               \
    }

FAILING(ssize_t, write, 'w', (int fd, const void *data, size_t size), fd, data, size)
FAILING(ssize_t, pwrite, 'w', (int fd, const void *data, size_t size, off_t at), fd, data, size, at)
FAILING(ssize_t, pwrite64, 'w', (int fd, const void *data, size_t size, off64_t at), fd, data, size, at)
FAILING(ssize_t, writev, 'w', (int fd, const struct iovec *parts, int count), fd, parts, count)
FAILING(ssize_t, pwritev, 'w', (int fd, const struct iovec *parts, int count, off_t at), fd, parts, count, at)
FAILING(ssize_t, pwritev64, 'w', (int fd, const struct iovec *parts, int count, off64_t at), fd, parts, count, at)
FAILING(int, fsync, 's', (int fd), fd)
FAILING(int, fdatasync, 's', (int fd), fd)
