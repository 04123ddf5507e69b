/* What survives a reset: session, highest number, boots counted; in a byte-wise EEPROM.
 *
 * One byte is written a poll, so nothing waits (a byte takes 3.4 ms). Numbers go round a ring of
 * slots, so that a cell is written once in KEEP_MARKS movements. A write cut by a reset fails its
 * check and the value before it counts. The board gives the eeprom_ functions. */
#ifndef KEEP_H
#define KEEP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KEEP_SIZE 1024
#define KEEP_SID 16

typedef struct {
    char sid[KEEP_SID + 1]; /* "" if lost */
    uint32_t mark, boot;
} keep_t;

void keep_load(keep_t *kept);           /* reads all; also begins to store the next boot */
void keep_session(const char *sid, uint32_t mark); /* begins */
void keep_mark(uint32_t mark);          /* begins */
uint8_t keep_busy(void);                /* not 0 until what was begun is stored */
void keep_poll(void);

uint8_t keep_read(uint16_t at);
uint8_t keep_ready(void); /* not 0 when a byte may be written */
void keep_write(uint16_t at, uint8_t byte);

#ifdef __cplusplus
}
#endif
#endif
