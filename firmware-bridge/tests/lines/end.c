/* The header's end as a process: one request on standard input, one answer on standard output. */
#define TM_COMMANDS
#define TM_NAME "th-1"
#define TM_INFO " fw=1.4.2 hw=th-board-2"
#define TM_BAUD 115200
#define TM_WINDOW 8
#define TM_LINES 256
#define TM_TEXT 96
#define TM_MAX 128
#define TM_ANSWER 32
#include "tidemill_lines.h"
#include <stdio.h>

static char out[1024];
static uint16_t out_len;
static uint32_t command;
static uint8_t kind;

void tm_put(char c) {
    if (out_len < sizeof out) out[out_len++] = c;
}

void tm_command(uint32_t n, const char *text) {
    kind = 'C';
    command = n;
    out_len = 0;
    while (*text) tm_put(*text++);
}

static int take(void *to, size_t bytes) { return fread(to, 1, bytes, stdin) == bytes; }

int main(void) {
    uint8_t op, ok;
    uint32_t now, n;
    uint16_t len;
    static char text[1025];
    while (take(&op, 1) && take(&now, 4) && take(&n, 4) && take(&ok, 1) && take(&len, 2)) {
        if (len >= sizeof text || !take(text, len)) return 1;
        text[len] = 0;
        kind = 0;
        command = 0;
        out_len = 0;
        switch (op) {
        case 'B': tm_byte(now, text[0]); break;
        case 'L': tm_say(text); break;
        case 'A': tm_answer(n, ok, text); break;
        case 'R': kind = tm_poll(now) ? 'S' : 'W'; break;
        default: /* the state */
            command = tm.top - tm.base;
            for (int k = 0; k < 4; k++) tm_put((char)(tm.lost >> (8 * k)));
            for (const char *digit = tm.boot; *digit; digit++) tm_put(*digit);
        }
        fwrite(&kind, 1, 1, stdout);
        fwrite(&command, 4, 1, stdout);
        fwrite(&out_len, 2, 1, stdout);
        fwrite(out, 1, out_len, stdout);
        fflush(stdout);
    }
    return 0;
}
