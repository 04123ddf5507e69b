/* An Arduino Uno that is not there: simavr runs the sketch, its UART is a pty, its servo a witness.
 *
 *   uno SKETCH.elf LINK [EEPROM]
 *
 * LINK becomes a symbolic link to the pty. Opening it resets the board, as the real one's does.
 * Time runs no faster than the wall's. stdout: one line an event, `MS event [US]`, MS in the
 * board's own time: `reset`, `pulse US` (the servo's new position), `limp` (pulses stopped).
 * stdin: `reset`, `quit`. EEPROM is a file to load from and, at `quit`, to save to.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "avr_eeprom.h"
#include "avr_uart.h"
#include "sim_avr.h"
#include "sim_elf.h"

#define HZ 16000000u
#define BYTE_CYCLES 1389 /* ten bits at 115200 */
#define CELLS 1024
#define OCR1AL 0x88
#define TCCR1A 0x80

static avr_t *avr;
static int master, taking, host_open;
static avr_cycle_count_t next_in, reset_cycle;
static uint8_t in[4096];
static int in_from, in_count;

static unsigned long ms(void) { return (unsigned long)(avr->cycle / (HZ / 1000)); }

static void on_byte(struct avr_irq_t *irq, uint32_t value, void *param) {
    uint8_t byte = (uint8_t)value;
    (void)irq;
    (void)param;
    if (host_open && write(master, &byte, 1) != 1) { /* nobody reads: lost, as on a wire */
    }
}
static void on_xon(struct avr_irq_t *irq, uint32_t value, void *param) {
    (void)irq, (void)value, (void)param;
    taking = 1;
}
static void on_xoff(struct avr_irq_t *irq, uint32_t value, void *param) {
    (void)irq, (void)value, (void)param;
    taking = 0;
}

static void reset(void) {
    printf("%lu reset\n", ms());
    avr_reset(avr);
    in_from = in_count = 0;
    reset_cycle = avr->cycle;
}

static void look_at_pty(void) {
    struct pollfd look = {.fd = master, .events = POLLIN};
    int is_open;
    poll(&look, 1, 0);
    is_open = !(look.revents & POLLHUP);
    if (is_open && !host_open) reset();
    host_open = is_open;
    if (is_open && look.revents & POLLIN) {
        if (in_from) memmove(in, in + in_from, (size_t)in_count);
        in_from = 0;
        ssize_t got = read(master, in + in_count, sizeof in - (size_t)in_count);
        if (got > 0) in_count += (int)got;
    }
}

static int look_at_stdin(void) {
    static char text[64];
    static int length;
    struct pollfd look = {.fd = 0, .events = POLLIN};
    char c;
    while (poll(&look, 1, 0) == 1 && look.revents) {
        if (read(0, &c, 1) != 1) return 0; /* the test is gone */
        if (c != '\n') {
            if (length < 63) text[length++] = c;
            continue;
        }
        text[length] = 0;
        length = 0;
        if (!strcmp(text, "quit")) return 0;
        if (!strcmp(text, "reset")) reset();
    }
    return 1;
}

static void look_at_servo(void) {
    static unsigned before = 0, last = 0;
    unsigned pulse = avr->data[OCR1AL] | (unsigned)avr->data[OCR1AL + 1] << 8;
    if (!(avr->data[TCCR1A] & 0x80)) pulse = 0;
    /* Two looks must agree: one may fall between the writes of the two bytes. */
    if (pulse != last) {
        last = pulse;
        return;
    }
    if (pulse == before) return;
    before = pulse;
    if (pulse)
        printf("%lu pulse %u\n", ms(), pulse / 2);
    else
        printf("%lu limp\n", ms());
}

static void eeprom(const char *path, int save) {
    static uint8_t cells[CELLS];
    avr_eeprom_desc_t all = {.ee = cells, .offset = 0, .size = CELLS};
    FILE *file = path ? fopen(path, save ? "wb" : "rb") : 0;
    if (!file) return;
    if (save) {
        avr_ioctl(avr, AVR_IOCTL_EEPROM_GET, &all);
        fwrite(all.ee, 1, CELLS, file);
    } else if (fread(cells, 1, CELLS, file) == CELLS) {
        avr_ioctl(avr, AVR_IOCTL_EEPROM_SET, &all);
    }
    fclose(file);
}

int main(int argc, char **argv) {
    elf_firmware_t sketch;
    struct termios raw;
    struct timespec from, at;
    uint32_t flags = 0;
    int slave, running = 1;
    char name[64];
    avr_cycle_count_t next_look = 0;
    if (argc < 3) return fprintf(stderr, "usage: uno SKETCH.elf LINK [EEPROM]\n"), 2;
    memset(&sketch, 0, sizeof sketch);
    if (elf_read_firmware(argv[1], &sketch)) return fprintf(stderr, "no sketch\n"), 2;
    avr = avr_make_mcu_by_name("atmega328p");
    avr_init(avr);
    avr->frequency = HZ;
    avr->log = LOG_ERROR;
    avr_load_firmware(avr, &sketch);
    eeprom(argc > 3 ? argv[3] : 0, 0);
    avr_ioctl(avr, AVR_IOCTL_UART_GET_FLAGS('0'), &flags);
    flags &= ~(uint32_t)(AVR_UART_FLAG_STDIO | AVR_UART_FLAG_POOL_SLEEP);
    avr_ioctl(avr, AVR_IOCTL_UART_SET_FLAGS('0'), &flags);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUTPUT),
                            on_byte, 0);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XON),
                            on_xon, 0);
    avr_irq_register_notify(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_OUT_XOFF),
                            on_xoff, 0);
    if (openpty(&master, &slave, name, 0, 0)) return perror("pty"), 2;
    tcgetattr(slave, &raw);
    cfmakeraw(&raw);
    tcsetattr(slave, TCSANOW, &raw);
    close(slave);
    fcntl(master, F_SETFL, O_NONBLOCK);
    unlink(argv[2]);
    if (symlink(name, argv[2])) return perror(argv[2]), 2;
    setvbuf(stdout, 0, _IOLBF, 0);
    printf("0 pty %s\n", name);
    clock_gettime(CLOCK_MONOTONIC, &from);
    while (running) {
        int state = avr_run(avr);
        if (state == cpu_Done || state == cpu_Crashed) return fprintf(stderr, "crashed\n"), 1;
        if (in_count && taking && avr->cycle >= next_in) {
            next_in = avr->cycle + BYTE_CYCLES;
            avr_raise_irq(avr_io_getirq(avr, AVR_IOCTL_UART_GETIRQ('0'), UART_IRQ_INPUT),
                          in[in_from++]);
            in_count--;
        }
        if (avr->cycle < next_look) continue;
        next_look = avr->cycle + HZ / 2000; /* half a millisecond */
        look_at_servo();
        look_at_pty();
        running = look_at_stdin();
        clock_gettime(CLOCK_MONOTONIC, &at);
        {
            double real = (double)(at.tv_sec - from.tv_sec) + (double)(at.tv_nsec - from.tv_nsec) / 1e9;
            double ahead = (double)avr->cycle / HZ - real;
            if (ahead > 0.001) usleep((useconds_t)(ahead * 1e6));
        }
    }
    eeprom(argc > 3 ? argv[3] : 0, 1);
    unlink(argv[2]);
    printf("%lu end\n", ms());
    return 0;
}
