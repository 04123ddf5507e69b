/* WS1, the device's half: the rules of the protocol and nothing of any board.
 *
 * Bytes go in through ws1_byte, time through ws1_poll, lines come out through ws1_next. The board
 * gives the machine_ functions below. Nothing here waits, allocates or calls Arduino. The same
 * rules in Python are sorter/actuator/device.py; both run tests/conformance.txt.
 */
#ifndef WS1_H
#define WS1_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WS1_LINE 48      /* longest line from the host, LF included */
#define WS1_SAY 80       /* longest line to the host, LF included */
#define WS1_SID 16       /* longest session id */
#define WS1_SILENCE 3000 /* ms without a valid line until the safe position */
#define WS1_NAKS 2       /* answers to garbage a second */

/* Begin: call once after each reset. `fw`, `boot` and `name` (8, 8 and 12 characters at most) must
 * stay where they are. `sid` is "" and `mark` unused when memory is lost. */
void ws1_start(const char *fw, const char *boot, const char *name, uint8_t bins, const char *sid,
               uint32_t mark, uint32_t now_ms);

/* True while a byte may be given to ws1_byte: there is room for any answer. */
uint8_t ws1_room(void);
void ws1_byte(uint8_t byte, uint32_t now_ms);

/* Call as often as possible. */
void ws1_poll(uint32_t now_ms);

/* The next byte to send, or -1. */
int16_t ws1_next(void);

/* What the board gives. None of these may wait. */
void machine_move(uint8_t bin); /* begin to move; bin 0 is home */
uint8_t machine_moving(void);   /* not 0 until the movement is over */
void machine_halt(void);        /* stop where it is, now */
void machine_safe(void);        /* go to the safe position */
void machine_keep_session(const char *sid, uint32_t mark); /* begin to store */
void machine_keep_mark(uint32_t mark);                     /* begin to store */
uint8_t machine_keeping(void);                             /* not 0 until it is stored */

#ifdef __cplusplus
}
#endif
#endif
