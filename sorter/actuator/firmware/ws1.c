/* The rules of WS1, device side. See ws1.h. */
#include "ws1.h"

#include <string.h>

#define OUT 224 /* ring of bytes to send: two long answers and some short ones */

enum state { IDLE, BUSY, SAFE, FAULT };
enum outcome { UNKNOWN, DONE, FAILED };

static const char *const STATE[] = {"IDLE", "BUSY", "SAFE", "FAULT"};
static const char *const OUTCOME[] = {"UNK", "DONE", "FAIL"};

static struct {
    const char *fw, *boot, *name;
    char sid[WS1_SID + 1];
    char line[WS1_LINE]; /* without LF, ended by 0 */
    uint8_t length, spoilt;
    uint8_t bins, state, greeted, has_mark;
    uint8_t storing;   /* a GO waits until its number is stored */
    uint8_t answering; /* a HI waits until its session is stored */
    uint8_t bin;       /* of the movement under way; 0 is home */
    uint8_t outcome;   /* of number `mark` */
    uint8_t naks, silent;
    uint32_t mark, moving, move_at, heard_at, nak_at;
    char out[OUT];
    uint8_t out_from, out_count;
} d;

/* Saying. A line is built in place and its check computed as it goes. */

static uint16_t say_check;

static uint16_t check(uint16_t sum, uint8_t byte) {
    uint8_t bit;
    sum ^= (uint16_t)byte << 8;
    for (bit = 0; bit < 8; bit++)
        sum = (uint16_t)(sum & 0x8000 ? sum << 1 ^ 0x1021 : sum << 1);
    return sum;
}

static void put(char c) {
    uint16_t at;
    if (d.out_count >= OUT) return; /* ws1_room makes this impossible */
    at = (uint16_t)d.out_from + d.out_count;
    d.out[at < OUT ? at : at - OUT] = c;
    d.out_count++;
}

static void say(const char *text) {
    for (; *text; text++) {
        say_check = check(say_check, (uint8_t)*text);
        put(*text);
    }
}

static void begin(const char *word) {
    say_check = 0xFFFF;
    say(word);
}

static void field(const char *text) {
    say(" ");
    say(text);
}

static void number(uint32_t value) {
    char text[11];
    uint8_t at = 10;
    text[10] = 0;
    do {
        text[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    field(text + at);
}

static void end(void) {
    static const char HEX[] = "0123456789ABCDEF";
    int8_t shift;
    put('*');
    for (shift = 12; shift >= 0; shift -= 4) put(HEX[say_check >> shift & 15]);
    put('\n');
}

static void answer(const char *word, uint32_t n, const char *what) {
    begin(word);
    number(n);
    if (what) field(what);
    end();
}

static void identity(const char *word, uint8_t with_firmware) {
    begin(word);
    if (with_firmware) {
        field("WS1");
        field(d.fw);
    }
    field(d.boot);
    field(d.name);
    field(d.has_mark ? d.sid : "-");
    if (d.has_mark)
        number(d.mark);
    else
        field("-");
    field(STATE[d.state]);
    end();
}

/* Reading. Each takes what it expects from *text and moves it on, or gives 0. */

static uint8_t take_number(const char **text, uint32_t least, uint32_t most, uint32_t *value) {
    const char *from = *text;
    uint32_t sum = 0;
    if (*from == '0' && from[1] >= '0' && from[1] <= '9') return 0;
    for (; **text >= '0' && **text <= '9'; (*text)++) {
        uint8_t digit = (uint8_t)(**text - '0');
        if (sum > (UINT32_MAX - digit) / 10) return 0;
        sum = sum * 10 + digit;
    }
    *value = sum;
    return *text != from && sum >= least && sum <= most;
}

static uint8_t take_sid(const char **text, char *sid) {
    uint8_t length = 0;
    for (;; (*text)++) {
        char c = **text;
        uint8_t fits = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                       c == '.' || c == '_' || c == '-';
        if (!fits) break;
        if (length == WS1_SID) return 0;
        sid[length++] = c;
    }
    sid[length] = 0;
    return length > 0;
}

static uint8_t take_space(const char **text) { return *(*text)++ == ' '; }

static uint8_t take_word(const char **text, const char *word) {
    uint8_t length = (uint8_t)strlen(word);
    if (strncmp(*text, word, length) != 0 || (*text)[length] != ' ') return 0;
    *text += length + 1;
    return 1;
}

/* Rules. */

static void start_move(uint32_t n, uint8_t bin, uint32_t now) {
    d.moving = n;
    d.bin = bin;
    d.move_at = now;
    answer("ACK", n, 0); /* before the movement */
    machine_move(bin);
}

static void cut(const char *code) {
    if (d.state != BUSY) return;
    if (d.bin) d.outcome = FAILED;
    if (code) answer("FAIL", d.moving, code);
    d.storing = 0;
}

static const char *known(uint32_t n) {
    if (!d.has_mark) return "UNK";
    if (d.state == BUSY && d.bin && n == d.moving) return "BUSY";
    if (n > d.mark) return "NEW";
    return n == d.mark ? OUTCOME[d.outcome] : "UNK";
}

static void hi(const char *sid, uint32_t next) {
    if (d.answering) return; /* its answer is on the way */
    if (d.state == SAFE) d.state = IDLE;
    if (d.state == IDLE && (!d.has_mark || strcmp(sid, d.sid) != 0)) {
        strcpy(d.sid, sid);
        d.mark = next - 1;
        d.has_mark = 1;
        d.outcome = UNKNOWN;
        d.answering = 1;
        machine_keep_session(d.sid, d.mark);
    }
    if (d.has_mark && strcmp(sid, d.sid) == 0) d.greeted = 1;
    if (!d.answering) identity("HI", 0);
}

static void go(const char *sid, uint32_t n, uint32_t bin) {
    if (!d.greeted || strcmp(sid, d.sid) != 0)
        answer("NAK", n, "SID");
    else if (n <= d.mark)
        answer("DUP", n, known(n));
    else if (d.state == BUSY || d.answering)
        answer("BUSY", n, 0);
    else if (d.state != IDLE)
        answer("NAK", n, STATE[d.state]);
    else if (bin < 1 || bin > d.bins)
        answer("NAK", n, "BIN");
    else {
        d.mark = d.moving = n;
        d.bin = (uint8_t)bin;
        d.outcome = UNKNOWN;
        d.state = BUSY;
        d.storing = 1;
        machine_keep_mark(n); /* stored before it moves: ws1_poll goes on from here */
    }
}

static void clear(uint32_t n) {
    if (d.state == BUSY) {
        answer("BUSY", n, 0);
        return;
    }
    answer("ACK", n, 0);
    if (d.state == FAULT) d.state = IDLE;
    begin("DONE");
    number(n);
    field("0 0");
    end();
}

static void home(uint32_t n, uint32_t now) {
    if (d.state == BUSY)
        answer("BUSY", n, 0);
    else if (!d.greeted)
        answer("NAK", n, "SID");
    else if (d.state != IDLE)
        answer("NAK", n, STATE[d.state]);
    else {
        d.state = BUSY;
        start_move(n, 0, now);
    }
}

/* One body without its check; 0 if it is none of ours. */
static uint8_t obey(const char *text, uint32_t now) {
    char sid[WS1_SID + 1];
    uint32_t n, bin;
    const uint32_t most = UINT32_MAX;
    if (take_word(&text, "GO")) {
        if (!take_sid(&text, sid) || !take_space(&text) || !take_number(&text, 1, most, &n) ||
            !take_space(&text) || !take_number(&text, 0, 999, &bin) || *text)
            return 0;
        go(sid, n, bin);
    } else if (take_word(&text, "HB")) {
        if (!take_number(&text, 0, most, &n) || *text) return 0;
        answer("HB", n, STATE[d.state]);
    } else if (take_word(&text, "HI")) {
        if (!take_sid(&text, sid) || !take_space(&text) || !take_number(&text, 1, most, &n) ||
            *text)
            return 0;
        hi(sid, n);
    } else if (take_word(&text, "Q")) {
        if (!take_number(&text, 1, most, &n) || *text) return 0;
        answer("ST", n, known(n));
    } else if (take_word(&text, "HOME")) {
        if (!take_number(&text, 1, most, &n) || *text) return 0;
        home(n, now);
    } else if (take_word(&text, "CLR")) {
        if (!take_number(&text, 1, most, &n) || *text) return 0;
        clear(n);
    } else
        return 0;
    return 1;
}

static uint8_t hex(char c, uint16_t *sum) {
    uint8_t digit;
    if (c >= '0' && c <= '9')
        digit = (uint8_t)(c - '0');
    else if (c >= 'A' && c <= 'F')
        digit = (uint8_t)(c - 'A' + 10);
    else
        return 0;
    *sum = (uint16_t)(*sum << 4 | digit);
    return 1;
}

static uint8_t line_is_sound(void) {
    uint8_t at, body;
    uint16_t sum = 0xFFFF, said = 0;
    if (d.length < 6) return 0;
    body = (uint8_t)(d.length - 5);
    for (at = 0; at < d.length; at++)
        if (d.line[at] < 0x20 || d.line[at] > 0x7E) return 0;
    for (at = 0; at < body; at++) sum = check(sum, (uint8_t)d.line[at]);
    if (d.line[body] != '*') return 0;
    for (at = (uint8_t)(body + 1); at < d.length; at++)
        if (!hex(d.line[at], &said)) return 0;
    return said == sum;
}

static void whole_line(uint32_t now) {
    uint8_t good = 0;
    if (!d.spoilt && d.length == 0) return;
    if (!d.spoilt && line_is_sound()) {
        d.line[d.length - 5] = 0;
        good = obey(d.line, now);
    }
    if (good) {
        d.heard_at = now;
        d.silent = 0;
        return;
    }
    if (now - d.nak_at >= 1000) {
        d.nak_at = now;
        d.naks = 0;
    }
    if (d.naks < WS1_NAKS) {
        d.naks++;
        begin("NAK");
        field("- CRC");
        end();
    }
}

/* The outside. */

void ws1_start(const char *fw, const char *boot, const char *name, uint8_t bins, const char *sid,
               uint32_t mark, uint32_t now) {
    memset(&d, 0, sizeof d);
    d.fw = fw;
    d.boot = boot;
    d.name = name;
    d.bins = bins;
    d.has_mark = sid[0] != 0;
    strncpy(d.sid, sid, WS1_SID);
    d.mark = mark;
    d.heard_at = now;
    d.nak_at = now - 1000;
    identity("BOOT", 1);
}

uint8_t ws1_room(void) { return d.out_count <= OUT - 2 * WS1_SAY; }

void ws1_byte(uint8_t byte, uint32_t now) {
    if (byte == '!') {
        machine_halt();
        cut(0);
        d.state = FAULT;
        begin("FAULT");
        field("STOP");
        end();
        d.length = d.spoilt = 0;
    } else if (byte == '\n') {
        whole_line(now);
        d.length = d.spoilt = 0;
    } else if (byte != '\r') {
        if (d.length < WS1_LINE - 1)
            d.line[d.length++] = (char)byte;
        else
            d.spoilt = 1;
    }
}

void ws1_poll(uint32_t now) {
    if (!ws1_room()) return;
    if (d.answering && !machine_keeping()) {
        d.answering = 0;
        identity("HI", 0);
    }
    if (d.storing && !machine_keeping()) {
        d.storing = 0;
        start_move(d.moving, d.bin, now);
    } else if (d.state == BUSY && !d.storing && !machine_moving()) {
        d.state = IDLE;
        if (d.bin) d.outcome = DONE;
        begin("DONE");
        number(d.moving);
        number(d.bin);
        number(now - d.move_at);
        end();
    }
    if (!d.silent && now - d.heard_at >= WS1_SILENCE) {
        d.silent = 1;
        if (d.state == IDLE || d.state == BUSY) {
            cut("SAFE");
            d.state = SAFE;
            machine_safe();
        }
    }
}

int16_t ws1_next(void) {
    char c;
    if (!d.out_count) return -1;
    c = d.out[d.out_from];
    d.out_from = (uint8_t)(d.out_from + 1 < OUT ? d.out_from + 1 : 0);
    d.out_count--;
    return (uint8_t)c;
}
