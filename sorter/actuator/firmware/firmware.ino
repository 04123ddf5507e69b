// A servo diverter that speaks WS1, for Arduino Uno and Nano (ATmega328P, 16 MHz).
//
// Owns the board: pins, Timer1, EEPROM cells, the serial port. The rules of the protocol are in
// ws1.c and what survives a reset in keep.c; neither knows of Arduino. Nothing here waits: each
// turn of loop() takes well under 10 ms. Change the settings below to fit the machine.

#include <avr/eeprom.h>
#include <string.h>

#include "keep.h"
#include "ws1.h"

#ifndef DEVICE_NAME
#define DEVICE_NAME "uno" // at most 12 letters, digits, '.', '_' or '-'; `--device NAME` checks it
#endif
#ifndef GO_MS
#define GO_MS 350 // from home to a bin, dwell included
#endif
#ifndef RETURN_MS
#define RETURN_MS 250 // back home
#endif
static const uint8_t SERVO_PIN = 9;        // Timer1's own output: do not move it
static const uint16_t HOME_US = 1500;      // pulse at home, which is also the safe position
static const uint16_t BIN_US[] = {1000, 1250, 1750, 2000}; // pulse for bins 1, 2, 3, 4
static const uint8_t BINS = sizeof BIN_US / sizeof BIN_US[0];

static char boot_text[9];
static keep_t kept;
static bool started = false;
static enum { AT_REST, GOING, RETURNING } leg = AT_REST;
static uint32_t leg_from, leg_ms;

// The servo: 50 Hz pulses by hardware, so that serial interrupts cannot make it twitch.

static void pulse(uint16_t us) {
  OCR1A = us * 2; // half-microsecond ticks
  TCCR1A = _BV(COM1A1) | _BV(WGM11);
}

static void servo_begin() {
  TCCR1A = _BV(WGM11);
  TCCR1B = _BV(WGM13) | _BV(WGM12) | _BV(CS11); // fast PWM, top ICR1, 2 MHz
  ICR1 = 39999;                                 // 20 ms
  pinMode(SERVO_PIN, OUTPUT);
  pulse(HOME_US);
}

static void go(uint16_t us, uint32_t ms) {
  pulse(us);
  leg_from = millis();
  leg_ms = ms;
}

extern "C" void machine_move(uint8_t bin) {
  if (bin == 0) {
    leg = RETURNING;
    go(HOME_US, RETURN_MS);
  } else {
    leg = GOING;
    go(BIN_US[bin - 1], GO_MS);
  }
}

extern "C" uint8_t machine_moving() {
  if (leg != AT_REST && millis() - leg_from >= leg_ms) {
    if (leg == GOING) {
      leg = RETURNING;
      go(HOME_US, RETURN_MS);
    } else {
      leg = AT_REST;
    }
  }
  return leg != AT_REST;
}

extern "C" void machine_halt() {
  leg = AT_REST;
  TCCR1A = _BV(WGM11); // no pulses: the servo holds no force and goes nowhere
}

extern "C" void machine_safe() {
  leg = AT_REST;
  pulse(HOME_US);
}

extern "C" void machine_keep_session(const char *sid, uint32_t mark) { keep_session(sid, mark); }
extern "C" void machine_keep_mark(uint32_t mark) { keep_mark(mark); }
extern "C" uint8_t machine_keeping() { return keep_busy(); }

extern "C" uint8_t keep_read(uint16_t at) { return eeprom_read_byte((const uint8_t *)at); }
extern "C" uint8_t keep_ready() { return eeprom_is_ready(); }
extern "C" void keep_write(uint16_t at, uint8_t byte) { eeprom_write_byte((uint8_t *)at, byte); }

void setup() {
  servo_begin();
  Serial.begin(115200);
  keep_load(&kept);
  for (uint8_t i = 0; i < 8; i++)
    boot_text[i] = "0123456789abcdef"[kept.boot >> (28 - 4 * i) & 15];
}

void loop() {
  keep_poll();
  if (!started) {
    if (keep_busy()) return; // the boot's number must be stored before it is told
    started = true;
    ws1_start("ino1", boot_text, DEVICE_NAME, BINS, kept.sid, kept.mark, millis());
  }
  while (Serial.available() && ws1_room()) ws1_byte(Serial.read(), millis());
  ws1_poll(millis());
  // Only as much as the core's own buffer takes: Serial.write would wait for room.
  while (Serial.availableForWrite() > 0) {
    int16_t byte = ws1_next();
    if (byte < 0) break;
    Serial.write((uint8_t)byte);
  }
}
