/* The child of a fast birth: clone3, then a table of system calls. No library, no Python, no thread-local storage.
 *
 * Compiled into stub_x86_64.py by `python -m gorae.runtime.fast.build`; a test compiles it again and compares. The layout of the
 * arena and of an op is drawn in arena.py and code.py, and must be the same here.
 *
 *     enter(arena)    the parent: MADV_DONTFORK over its own memory, clone3, MADV_DOFORK; returns the pid or -errno
 *       └─ walk       the child, on the arena's stack: one op after the other, until execve or the first failure
 */
typedef unsigned long word;
typedef unsigned int half;

enum { CLONE_ARGS = 0, PROGRAM = 11, FAULT = 12, EXPLAIN = 13, STEP = 14, FAILED_AT = 15, ERRNO = 16, REPORT = 17,
       RANGES = 18, RANGE = 19, SLOTS = 64, TIMES = 320 };
enum { CALL, TEST, SET, STORE, READ, SAME, FAIL, MARK, QUIT };
enum { IMMEDIATE, RELATIVE, SLOT, ARENA };

struct op {
    unsigned char kind, width, out, negate;
    unsigned short number, modes;
    int skip;
    unsigned char pass[4];
    word argument[6];
};

#define SYSTEM_READ 0
#define SYSTEM_MADVISE 28
#define SYSTEM_SENDTO 44
#define SYSTEM_CLOCK_GETTIME 228
#define SYSTEM_EXIT_GROUP 231
#define SYSTEM_CLONE3 435
#define MADV_DONTFORK 10
#define MADV_DOFORK 11
#define MSG_NOSIGNAL 0x4000
#define EAGAIN 11
#define EIO 5
#define ANY 255 /* in place of an errno */

static inline __attribute__((always_inline)) long call(word number, word a, word b, word c, word d, word e, word f)
{
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    register word r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}

/* First in the file, so first in the code. */
long enter(word *arena)
{
    long pid;
    for (word i = 0; i < arena[RANGES]; i++)
        call(SYSTEM_MADVISE, arena[RANGE + 2 * i], arena[RANGE + 2 * i + 1], MADV_DONTFORK, 0, 0, 0);
    __asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\txor %%ebp, %%ebp\n\tmov %[arena], %%rdi\n\tcall walk\n1:"
                     : "=a"(pid)
                     : "a"((word)SYSTEM_CLONE3), "D"(arena + CLONE_ARGS), "S"(88l), [arena] "r"(arena)
                     : "rcx", "r11", "memory");
    for (word i = 0; i < arena[RANGES]; i++)
        call(SYSTEM_MADVISE, arena[RANGE + 2 * i], arena[RANGE + 2 * i + 1], MADV_DOFORK, 0, 0, 0);
    return pid;
}

static word load(word value, unsigned char width)
{
    return width == 1 ? *(unsigned char *)value : width == 4 ? *(half *)value : width == 8 ? *(word *)value : value;
}

/* Everything of a file, at most `most` bytes. */
static long read_all(word descriptor, word buffer, word most)
{
    word had = 0;
    while (had < most) {
        long got = call(SYSTEM_READ, descriptor, buffer + had, most - had, 0, 0, 0);
        if (got < 0)
            return got;
        if (!got)
            break;
        had += got;
    }
    return had;
}

static long same(word one, word other, word size)
{
    for (; size; size--)
        if (*(unsigned char *)one++ != *(unsigned char *)other++)
            return 0;
    return 1;
}

static void mark(word *arena)
{
    if (arena[EXPLAIN]) {
        word now[2];
        call(SYSTEM_CLOCK_GETTIME, 1, (word)now, 0, 0, 0, 0);
        arena[TIMES + arena[STEP]] = now[0] * 1000000000 + now[1];
    }
    arena[STEP]++;
}

__attribute__((noreturn)) static void fail(word *arena, struct op *op, word error)
{
    char told = 'e';
    arena[FAILED_AT] = (word)op;
    arena[ERRNO] = error;
    call(SYSTEM_SENDTO, arena[REPORT], (word)&told, 1, MSG_NOSIGNAL, 0, 0);
    call(SYSTEM_EXIT_GROUP, 1, 0, 0, 0, 0, 0);
    __builtin_unreachable();
}

__attribute__((noreturn, used)) static void walk(word *arena)
{
    struct op *op = (struct op *)arena[PROGRAM];
    for (;;) {
        word v[6];
        long error = 0;
        for (int i = 0; i < 6; i++) {
            int mode = op->modes >> 2 * i & 3;
            word value = op->argument[i];
            v[i] = mode == RELATIVE ? (word)op + value : mode == SLOT ? arena[SLOTS + value] : mode == ARENA ? (word)arena + value
                                                                                                            : value;
        }
        int jump = 0;
        if (op == (struct op *)arena[FAULT]) {
            error = EIO;
        } else if (op->kind == CALL || op->kind == READ) {
            long result;
            if (op->kind == READ) {
                result = read_all(v[0], v[1], v[2]);
            } else {
                /* openat2 gives EAGAIN while somebody renames or mounts on this machine. */
                int tries = 1024;
                do
                    result = call(op->number, v[0], v[1], v[2], v[3], v[4], v[5]);
                while (result == -EAGAIN && --tries);
            }
            arena[SLOTS + op->out] = result;
            if (result < 0 && result > -4096) {
                error = -result;
                for (int i = 0; i < 4; i++)
                    if (op->pass[i] == error || op->pass[i] == ANY)
                        jump = 1;
                if (jump)
                    error = 0;
            }
        } else if (op->kind == TEST || op->kind == SAME) {
            if (op->kind == SAME)
                jump = !same(v[0], v[1], v[2]);
            else
                jump = ((load(v[0], op->width) & v[1]) == v[2]) == op->negate;
            if (jump && !op->skip)
                error = v[3];
        } else if (op->kind == SET) {
            arena[SLOTS + op->out] = load(v[0], op->width);
            jump = 1;
        } else if (op->kind == STORE) {
            if (op->width == 4)
                *(half *)v[0] = v[1];
            else
                *(word *)v[0] = v[1];
        } else if (op->kind == MARK) {
            mark(arena);
        } else if (op->kind == QUIT) {
            call(SYSTEM_EXIT_GROUP, v[0], 0, 0, 0, 0, 0);
        } else {
            error = v[0];
        }
        if (error)
            fail(arena, op, error);
        op = jump && op->skip ? (struct op *)((word)op + op->skip) : op + 1;
    }
}
