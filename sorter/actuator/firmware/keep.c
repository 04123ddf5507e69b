/* Records in EEPROM. See keep.h. */
#include "keep.h"

#include <string.h>

/* | 2 sessions: generation 2, sid 16, mark 4, check 2 | 8 boots: count 4, check 2 | marks: 4, 2 |
 * A mark's check is seeded with its session's generation: an older session's marks do not count. */
#define SESSION 24
#define SLOT 6
#define BOOTS 8
#define BOOTS_AT (2 * SESSION)
#define MARKS_AT (BOOTS_AT + BOOTS * SLOT)
#define MARKS ((KEEP_SIZE - MARKS_AT) / SLOT)

static struct {
    uint8_t bytes[SESSION];
    uint16_t at;
    uint8_t length, done;
    uint16_t generation, slot;
} k;

static uint16_t check(uint16_t sum, uint8_t byte) {
    uint8_t bit;
    sum ^= (uint16_t)byte << 8;
    for (bit = 0; bit < 8; bit++)
        sum = (uint16_t)(sum & 0x8000 ? sum << 1 ^ 0x1021 : sum << 1);
    return sum;
}

static uint16_t check_all(uint16_t seed, const uint8_t *bytes, uint8_t length) {
    uint16_t sum = (uint16_t)~seed;
    while (length--) sum = check(sum, *bytes++);
    return sum;
}

/* A record's own check is its last two bytes. */
static uint8_t fetch(uint16_t at, uint8_t length, uint16_t seed, uint8_t *bytes) {
    uint8_t i;
    for (i = 0; i < length; i++) bytes[i] = keep_read((uint16_t)(at + i));
    return check_all(seed, bytes, (uint8_t)(length - 2)) ==
           (uint16_t)(bytes[length - 2] | bytes[length - 1] << 8);
}

static void store(uint16_t at, uint8_t length, uint16_t seed) {
    uint16_t sum = check_all(seed, k.bytes, (uint8_t)(length - 2));
    k.bytes[length - 2] = (uint8_t)sum;
    k.bytes[length - 1] = (uint8_t)(sum >> 8);
    k.at = at;
    k.length = length;
    k.done = 0;
}

static uint32_t long_at(const uint8_t *bytes) {
    return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static void long_to(uint8_t *bytes, uint32_t value) {
    uint8_t i;
    for (i = 0; i < 4; i++, value >>= 8) bytes[i] = (uint8_t)value;
}

void keep_load(keep_t *kept) {
    uint8_t bytes[SESSION], i, boot_slot = 0, found = 0;
    uint16_t slot;
    memset(kept, 0, sizeof *kept);
    memset(&k, 0, sizeof k);
    for (i = 0; i < 2; i++) {
        uint16_t generation;
        if (!fetch((uint16_t)(i * SESSION), SESSION, 0x5353, bytes)) continue;
        generation = (uint16_t)(bytes[0] | bytes[1] << 8);
        if (found && (int16_t)(generation - k.generation) < 0) continue;
        found = 1;
        k.generation = generation;
        memcpy(kept->sid, bytes + 2, KEEP_SID);
        kept->mark = long_at(bytes + 18);
    }
    for (slot = 0; slot < MARKS; slot++) {
        if (!fetch((uint16_t)(MARKS_AT + slot * SLOT), SLOT, k.generation, bytes)) continue;
        /* An erased slot reads as the largest number, which no host sends. */
        if (found && long_at(bytes) > kept->mark && long_at(bytes) != 0xFFFFFFFF) {
            kept->mark = long_at(bytes);
            k.slot = (uint16_t)(slot + 1 < MARKS ? slot + 1 : 0);
        }
    }
    for (i = 0; i < BOOTS; i++) {
        if (!fetch((uint16_t)(BOOTS_AT + i * SLOT), SLOT, 0x4242, bytes)) continue;
        if (long_at(bytes) >= kept->boot) {
            kept->boot = long_at(bytes);
            boot_slot = (uint8_t)(i + 1 < BOOTS ? i + 1 : 0);
        }
    }
    kept->boot++;
    long_to(k.bytes, kept->boot);
    store((uint16_t)(BOOTS_AT + boot_slot * SLOT), SLOT, 0x4242);
}

void keep_session(const char *sid, uint32_t mark) {
    k.generation++;
    k.bytes[0] = (uint8_t)k.generation;
    k.bytes[1] = (uint8_t)(k.generation >> 8);
    memset(k.bytes + 2, 0, KEEP_SID);
    memcpy(k.bytes + 2, sid, strlen(sid));
    long_to(k.bytes + 18, mark);
    store((uint16_t)((k.generation & 1) * SESSION), SESSION, 0x5353);
}

void keep_mark(uint32_t mark) {
    long_to(k.bytes, mark);
    store((uint16_t)(MARKS_AT + k.slot * SLOT), SLOT, k.generation);
    k.slot = (uint16_t)(k.slot + 1 < MARKS ? k.slot + 1 : 0);
}

uint8_t keep_busy(void) { return k.done < k.length || !keep_ready(); }

void keep_poll(void) {
    if (k.done >= k.length || !keep_ready()) return;
    /* Equal bytes are skipped: time and wear. */
    if (keep_read((uint16_t)(k.at + k.done)) != k.bytes[k.done])
        keep_write((uint16_t)(k.at + k.done), k.bytes[k.done]);
    k.done++;
}
