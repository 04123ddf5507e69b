/* A disk that fills up or stalls on demand, between a program and its C library (LD_PRELOAD).
 *
 * Only files under $SOAK_DISK are touched. While $SOAK_DISK_CONTROL/full exists, whatever would
 * need new space there fails with ENOSPC, and statvfs says that nothing is free. While
 * $SOAK_DISK_CONTROL/stall exists, fsync and fdatasync there do not return. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static int is(const char *word)
{
    const char *control = getenv("SOAK_DISK_CONTROL");
    char path[4096];
    if (!control) return 0;
    snprintf(path, sizeof path, "%s/%s", control, word);
    return access(path, F_OK) == 0;
}

static int ours(const char *path)
{
    const char *disk = getenv("SOAK_DISK");
    return disk && strncmp(path, disk, strlen(disk)) == 0;
}

static int fd_ours(int fd)
{
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return ours(path);
}

/* A full disk takes what lies inside space that a file has already: SQLite's log is overwritten so.
 * A file that lost its reserve gives that much back, so the check is on the free space we pretend:
 * none, except what the reserve file held. */
static int reserve_gone(void)
{
    const char *disk = getenv("SOAK_DISK");
    char path[4096];
    snprintf(path, sizeof path, "%s/journal.sqlite.reserve", disk ? disk : "");
    return access(path, F_OK) != 0;
}

static int refused(int fd, off_t end)
{
    struct stat status;
    if (!fd_ours(fd) || !is("full") || reserve_gone()) return 0;
    if (fstat(fd, &status) == 0 && end <= status.st_size) return 0;
    errno = ENOSPC;
    return 1;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    REAL(pwrite);
    return refused(fd, at + (off_t)size) ? -1 : real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    REAL(pwrite64);
    return refused(fd, at + (off_t)size) ? -1 : real(fd, data, size, at);
}

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(write);
    if (fd > 2 && fd_ours(fd) && is("full")) {
        off_t at = lseek(fd, 0, SEEK_CUR);
        if (at >= 0 && refused(fd, at + (off_t)size)) return -1;
    }
    return real(fd, data, size);
}

int posix_fallocate(int fd, off_t at, off_t size)
{
    REAL(posix_fallocate);
    return fd_ours(fd) && is("full") ? ENOSPC : real(fd, at, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t size)
{
    REAL(posix_fallocate64);
    return fd_ours(fd) && is("full") ? ENOSPC : real(fd, at, size);
}

int statvfs(const char *path, struct statvfs *result)
{
    REAL(statvfs);
    int code = real(path, result);
    if (code == 0 && ours(path) && is("full")) result->f_bavail = result->f_bfree = 0;
    return code;
}

int statvfs64(const char *path, struct statvfs64 *result)
{
    REAL(statvfs64);
    int code = real(path, result);
    if (code == 0 && ours(path) && is("full")) result->f_bavail = result->f_bfree = 0;
    return code;
}

static void stalled(int fd)
{
    struct timespec moment = {0, 20000000};
    while (fd_ours(fd) && is("stall")) nanosleep(&moment, NULL);
}

int fsync(int fd)
{
    REAL(fsync);
    stalled(fd);
    return real(fd);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    stalled(fd);
    return real(fd);
}
