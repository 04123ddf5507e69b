/* ws1.c on the host: a script runner for the conformance table, and a fuzzer.
 *
 *   host run            commands on stdin, one a line (see below); answers and events on stdout
 *   host fuzz N SEED    N damaged lines; counts movements that no sound line asked for
 *   host keep N SEED    N movements into an EEPROM that loses power in the middle of writes
 *
 * run: "power", "at MS" (time goes on to), "hex BYTES" (from the host).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keep.h"
#include "ws1.h"

static uint32_t now, move_until;
static uint8_t moving;
static unsigned long moves, halts, safes;
static int quiet;
static char kept_sid[WS1_SID + 1];
static uint32_t kept_mark;
static uint32_t move_ms = 300;

void machine_move(uint8_t bin) {
    moves++;
    moving = 1;
    move_until = now + move_ms;
    if (!quiet) printf("= %s %u\n", bin ? "move" : "home", bin);
}
uint8_t machine_moving(void) {
    if (moving && (int32_t)(now - move_until) >= 0) moving = 0;
    return moving;
}
void machine_halt(void) {
    halts++;
    moving = 0;
    if (!quiet) printf("= fault\n");
}
void machine_safe(void) {
    safes++;
    moving = 0;
    if (!quiet) printf("= safe\n");
}
void machine_keep_session(const char *sid, uint32_t mark) {
    strcpy(kept_sid, sid);
    kept_mark = mark;
}
void machine_keep_mark(uint32_t mark) { kept_mark = mark; }
uint8_t machine_keeping(void) { return 0; }

/* EEPROM for keep.c. */
static uint8_t cells[KEEP_SIZE];
static long power_left = -1; /* writes until the power fails; -1 never */
static unsigned long worn[KEEP_SIZE];
uint8_t keep_read(uint16_t at) { return cells[at]; }
uint8_t keep_ready(void) { return 1; }
void keep_write(uint16_t at, uint8_t byte) {
    if (power_left == 0) return;
    /* A write cut in the middle leaves anything. */
    cells[at] = power_left == 1 ? (uint8_t)rand() : byte;
    worn[at]++;
    if (power_left > 0) power_left--;
}

static void drain(void) {
    int16_t byte;
    char line[WS1_SAY + 1];
    int length = 0;
    while ((byte = ws1_next()) >= 0) {
        if (byte == '\n') {
            line[length] = 0;
            printf("< %s\n", line);
            length = 0;
        } else if (length < WS1_SAY) {
            line[length++] = (char)byte;
        } else {
            printf("! answer too long\n");
            exit(3);
        }
    }
}

static void take(uint8_t byte) {
    ws1_byte(byte, now);
    ws1_poll(now);
    if (!quiet) drain();
}

static int run(void) {
    static char text[4096];
    int boots = 0;
    static char boot[9];
    while (fgets(text, sizeof text, stdin)) {
        if (!strncmp(text, "power", 5)) {
            sprintf(boot, "b%d", ++boots);
            moving = 0;
            ws1_start("sim1", boot, "sim", 4, kept_sid, kept_mark, now);
        } else if (!strncmp(text, "lose", 4)) {
            kept_sid[0] = 0;
        } else if (!strncmp(text, "at ", 3)) {
            uint32_t until = (uint32_t)strtoul(text + 3, 0, 10);
            while (now != until) {
                now++;
                ws1_poll(now);
            }
        } else if (!strncmp(text, "hex ", 4)) {
            const char *at;
            unsigned value;
            for (at = text + 4; sscanf(at, "%2x", &value) == 1; at += 2) take((uint8_t)value);
        }
        ws1_poll(now);
        drain();
        printf(".\n");
        fflush(stdout);
    }
    return 0;
}

static uint64_t seed;
static uint32_t random32(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 32);
}

static uint16_t check(const char *body) {
    uint16_t sum = 0xFFFF;
    int bit;
    for (; *body; body++) {
        sum ^= (uint16_t)((uint8_t)*body << 8);
        for (bit = 0; bit < 8; bit++) sum = (uint16_t)(sum & 0x8000 ? sum << 1 ^ 0x1021 : sum << 1);
    }
    return sum;
}

static void give(const char *bytes, int length) {
    int i;
    for (i = 0; i < length; i++) {
        ws1_byte((uint8_t)bytes[i], now);
        while (ws1_next() >= 0) {
        }
    }
    ws1_poll(now);
    while (ws1_next() >= 0) {
    }
}

/* The table of what is sent: sound bodies, bodies with a sound check but nonsense inside. */
static int a_line(char *line, unsigned long n) {
    static const char *const NONSENSE[] = {
        "GO", "GO ", "GO s", "GO s 1", "GO s %lu 1 ", "GO s %lu 1 1", "GO s -1 1", "GO s 0%lu 1",
        "GO s 4294967296 1", "GO s 99999999999 1", "GO s %lu 01", "GO s %lu 1000", "go s %lu 1",
        "GO  s %lu 1", "GO aaaaaaaaaaaaaaaaaaaaaaa 1 1", "HI", "HI s 0", "HI s", "Q 0", "Q",
        "HB", "HB -", "HB 4294967296", "HOME", "HOME 0", "CLR x", "GOO s %lu 1", " GO s %lu 1",
        "GO s %lu 1\t", "XX %lu", "*", "GO*s %lu 1", "BOOT WS1 a b c d 1 IDLE", "ACK %lu"};
    static const char *const SOUND[] = {"GO s %lu 1", "Q %lu", "HB %lu"};
    char body[64];
    uint32_t kind = random32() % 8;
    int length;
    if (kind == 0)
        snprintf(body, sizeof body, NONSENSE[random32() % (sizeof NONSENSE / sizeof *NONSENSE)], n);
    else
        snprintf(body, sizeof body, SOUND[random32() % 3], n);
    length = sprintf(line, "%s*%04X\n", body, check(body));
    if (kind == 0) return length;
    switch (random32() % 6) { /* each way leaves the line unsound for sure, or is checked below */
    case 0: { /* one to three bits, within the check's certain reach */
        int flips = 1 + (int)(random32() % 3), i, at[3];
        for (i = 0; i < flips; i++) {
            int again, j;
            do {
                at[i] = (int)(random32() % (uint32_t)((length - 1) * 8));
                for (again = 0, j = 0; j < i; j++) again |= at[i] == at[j];
            } while (again);
        }
        for (i = 0; i < flips; i++) line[at[i] / 8] ^= (char)(1 << at[i] % 8);
        break;
    }
    case 1: /* cut short */
        length = (int)(random32() % (uint32_t)(length - 1));
        line[length++] = '\n';
        break;
    case 2: { /* one byte lost */
        int at = (int)(random32() % (uint32_t)(length - 1));
        memmove(line + at, line + at + 1, (size_t)(length - at - 1));
        length--;
        break;
    }
    case 3: /* nothing but noise */
        length = (int)(random32() % 60) + 1;
        for (int i = 0; i < length; i++) line[i] = (char)random32();
        line[length++] = '\n';
        break;
    case 4: /* far too long */
        memset(line, 'A', 200);
        line[200] = '\n';
        length = 201;
        break;
    default: { /* lower-case or missing check */
        char *star = strrchr(line, '*');
        *star = random32() % 2 ? ' ' : '#';
    }
    }
    return length;
}

static int fuzz(unsigned long count, uint64_t from) {
    unsigned long i, expected = 0;
    char line[512], hello[64];
    uint32_t n = 1;
    seed = from * 0x9E3779B97F4A7C15u + 1;
    quiet = 1;
    move_ms = 0;
    ws1_start("fuzz", "b1", "sim", 4, "", 0, now);
    sprintf(hello, "HI s 1*%04X\n", check("HI s 1"));
    give(hello, (int)strlen(hello));
    for (i = 0; i < count; i++) {
        int length = a_line(line, n);
        unsigned long before = halts;
        give(line, length);
        now += 1;
        if (halts != before || i % 1000 == 999) {
            /* A '!' in the noise stops, as it must: the operator clears, the host greets, and one
             * sound GO shows that the device still works between all the garbage. */
            char sound[128], body[48];
            int more = sprintf(sound, "\nCLR 1*%04X\n%s", check("CLR 1"), hello);
            give(sound, more);
            sprintf(body, "GO s %" PRIu32 " 1", n++);
            more = sprintf(sound, "%s*%04X\n", body, check(body));
            give(sound, more);
            expected++;
            give("\n", 1);
        }
    }
    printf("lines %lu moves %lu expected %lu stops %lu safe %lu\n", count, moves, expected, halts,
           safes);
    return moves == expected ? 0 : 1;
}

static int keep_test(unsigned long count, uint64_t from) {
    keep_t kept;
    unsigned long i, cuts = 0, most = 0;
    uint32_t stored = 0, boot = 0, started;
    char sid[KEEP_SID + 1] = "";
    srand((unsigned)from);
    memset(cells, 0xFF, sizeof cells);
    keep_load(&kept);
    if (kept.sid[0] || kept.mark) return printf("an erased EEPROM says %s\n", kept.sid), 1;
    while (keep_busy()) keep_poll();
    for (i = 0; i < count; i++) {
        int fresh = i % 977 == 0;
        power_left = rand() % 50 == 0 ? rand() % 12 + 1 : -1;
        started = stored + 1 + (uint32_t)(rand() % 3);
        if (fresh) {
            char next[KEEP_SID + 1];
            snprintf(next, sizeof next, "s%lu", i);
            keep_session(next, started);
            while (keep_busy()) keep_poll();
            if (power_left != 0) strcpy(sid, next), stored = started;
        } else {
            keep_mark(started);
            while (keep_busy()) keep_poll();
            if (power_left != 0) stored = started;
        }
        if (power_left == 0 || rand() % 20 == 0) {
            int cut = power_left == 0;
            cuts += (unsigned long)cut;
            power_left = -1;
            keep_load(&kept);
            while (keep_busy()) keep_poll();
            if (kept.boot <= boot) return printf("boot %u after %u\n", kept.boot, boot), 1;
            boot = kept.boot;
            if (!cut && (strcmp(kept.sid, sid) || kept.mark != stored))
                return printf("%lu: %s %u, not %s %u\n", i, kept.sid, kept.mark, sid, stored), 1;
            /* What was stored whole before the cut must be there; the cut one may be. */
            if (cut && (kept.mark < stored || kept.mark > started) && !fresh)
                return printf("%lu: after a cut %u, not %u..%u\n", i, kept.mark, stored, started), 1;
            strcpy(sid, kept.sid);
            stored = kept.mark;
        }
    }
    for (i = 0; i < KEEP_SIZE; i++) most = worn[i] > most ? worn[i] : most;
    printf("stored %lu power cuts %lu boots %u most worn cell %lu\n", count, cuts, boot, most);
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "run")) return run();
    if (argc == 4 && !strcmp(argv[1], "fuzz"))
        return fuzz(strtoul(argv[2], 0, 10), strtoull(argv[3], 0, 10));
    if (argc == 4 && !strcmp(argv[1], "keep"))
        return keep_test(strtoul(argv[2], 0, 10), strtoull(argv[3], 0, 10));
    fprintf(stderr, "usage: host run | host fuzz N SEED | host keep N SEED\n");
    return 2;
}
