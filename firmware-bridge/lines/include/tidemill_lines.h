/* tidemill_lines.h: each line that a microcontroller says arrives exactly once, although its UART loses some.
 * The device's end of acknowledged lines (docs/lines.md) in C99, with no allocation and no floating point;
 * C++ takes it too. Include it in one file, after defining what differs from the defaults.
 *
 *   void tm_put(char c)             yours: writes a byte to the UART, waiting where it has to
 *   tm_say("{\"t\":21.5}")          says a line: it is kept until it is safe
 *   tm_byte(now, c)                 takes a byte that has come; now is in milliseconds and may wrap
 *   tm_poll(now)                    call it often: writes at most one line, returns 0 if there was none to write
 *   tm.time + (now - tm.time_at)    milliseconds since 1970, once tm.time is not 0
 * With TM_COMMANDS, also:
 *   void tm_command(uint32_t n, const char *text)    yours: carries it out, now or later; it comes once
 *   tm_answer(n, 1, "")             answers it; 0 if it was not carried out, with the reason
 */
#ifndef TIDEMILL_LINES_H
#define TIDEMILL_LINES_H
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef TM_NAME /* Define all of these, or none. */
#define TM_NAME "device" /* 1 to 32 of A-Za-z0-9_.- */
#define TM_INFO "" /* such as " fw=1.4.2 hw=th-board-2", with a space in front */
#define TM_BAUD 115200
#define TM_WINDOW 8 /* lines under way at once; 32 on fast lines, 1 on RS-485 */
#define TM_LINES 16 /* lines kept */
#define TM_TEXT 64 /* bytes of the longest line, its end included */
#define TM_MAX 128 /* bytes of the longest line that can be taken */
#define TM_ANSWER 32 /* bytes of the longest answer to a command, its end included */
#endif
#define TM_RTO (300 + TM_WINDOW * (TM_TEXT + 23L) * 200 / (TM_BAUD / 100)) /* twice a window's time on the wire */
#define TM_RTO_MAX (uint32_t)(TM_RTO > 5000 ? TM_RTO : 5000)
#define TM_LAST 0xFFFFFFFFu
#define TM_FN static inline

static struct {
    char ring[TM_LINES][TM_TEXT], in[TM_MAX + 1], boot[17]; /* no boot: asking for one */
    uint8_t hello, full, said, asked; /* a hello is due; with all; was the last thing said; times asked */
    uint32_t len, crc, base, top, got, sent; /* base: the number before the oldest line; top: the newest line's */
    uint32_t again, from, lost, rto, rto_at, hello_at, idle_at, time_at; /* again: bit k for the line from + k */
    uint64_t time;
} tm;
void tm_put(char c);
/* Writing. The checksum covers the boot as well, but not in lines with @. */
#define TM_STEP(crc) (((crc) >> 1) ^ ((crc) & 1 ? 0xEDB88320u : 0))
TM_FN void tm_sum(char c) { tm.crc ^= (uint8_t)c; for (int k = 8; k--;) tm.crc = TM_STEP(tm.crc); }
TM_FN void tm_sums(char mark) { tm.crc = TM_LAST; for (int k = 0; mark != '@' && k < 16; k++) tm_sum(tm.boot[k]); }
TM_FN void tm_char(char c) { tm_sum(c); tm_put(c); }
TM_FN void tm_text(const char *text) { while (*text) tm_char(*text++); }
TM_FN void tm_number(uint32_t n) { if (n > 9) tm_number(n / 10); tm_char((char)('0' + n % 10)); }
TM_FN void tm_field(const char *key, uint32_t n) { tm_text(key); tm_number(n); }
TM_FN void tm_begin(const char *head) { tm_put('\n'); tm_sums(*head); tm_text(head); }
TM_FN int tm_end(uint32_t now) {
    for (int k = 32; k >= 0; k -= 4) tm_put(k > 28 ? '*' : "0123456789ABCDEF"[~tm.crc >> k & 15]);
    tm_put('\n'); tm.said = 0; tm.idle_at = now + 10000; return 1;
}
/* Lines kept. Where the oldest has to go, the bridge must not wait for it. */
TM_FN void tm_say(const char *text) {
    if (strlen(text) >= TM_TEXT || tm.top == TM_LAST) { tm.lost++; return; }
    if (tm.top - tm.base == TM_LINES) { tm.hello |= tm.base >= tm.sent; tm.base++; tm.lost++; }
    if (tm.got < tm.base) tm.got = tm.base;
    if (tm.sent < tm.got) tm.sent = tm.got;
    for (char *to = strcpy(tm.ring[++tm.top % TM_LINES], text); *to; to++) if (*to == '\n' || *to == '\r') *to = ' ';
}
TM_FN void tm_got(uint32_t now, uint32_t n) {
    if (n < tm.base) n = tm.base;
    if (n > tm.got) { tm.rto = TM_RTO; tm.rto_at = now + tm.rto; }
    tm.got = n; tm.sent = tm.sent < n ? n : tm.sent;
}
TM_FN void tm_safe(uint32_t now, uint32_t n) { if (n > tm.base) tm.base = n; tm_got(now, tm.got); }
TM_FN void tm_again(uint32_t n) {
    if (!tm.again || n < tm.from) { tm.from = n; tm.again = 0; }
    if (n <= tm.base) tm.hello = 1; else if (n <= tm.sent && n - tm.from < 32) tm.again |= (uint32_t)1 << (n - tm.from);
}
/* Commands: the last one is kept with its answer, which is repeated without acting again. */
#ifdef TM_COMMANDS
static struct { char text[TM_ANSWER]; uint32_t n; uint8_t task, ok, due; } tm_last; /* task: 1 running, 2 answered */
void tm_command(uint32_t n, const char *text);
TM_FN void tm_answer(uint32_t n, int ok, const char *text) {
    if (tm_last.task != 1 || n != tm_last.n) return;
    strncat(strcpy(tm_last.text, *text ? " " : ""), text, TM_ANSWER - 2);
    tm_last.ok = ok != 0; tm_last.due = 1; tm_last.task = 2;
}
TM_FN void tm_ask(uint32_t n, const char *text) {
    if (tm_last.task && tm_last.n == n) { tm_last.due = tm_last.task == 2; return; }
    tm_last.n = n; tm_last.task = 1; tm_last.due = 0; tm_command(n, text);
}
#endif
/* Reading. Keys in lines with @ are six characters long. */
TM_FN uint32_t tm_int(const char *digits) { return (uint32_t)strtoul(digits, 0, 10); }
TM_FN uint32_t tm_pair(const char *at, const char *key) { at = strstr(at, key); return at ? tm_int(at + 6) : 0; }
TM_FN void tm_ok(uint32_t now, const char *line) {
    const char *digit = strstr(line, " time=");
    uint32_t safe = tm_pair(line, " safe="), held = tm_pair(line, " next=") - 1;
    if (digit) for (digit += 6, tm.time_at = now, tm.time = 0; *digit > ' '; digit++) tm.time = tm.time * 10 + (*digit & 15);
    if (strstr(line, " who=1")) tm.full = tm.hello = 1;
    if (safe <= tm.top) tm_safe(now, safe);
    if (held < tm.base) { held = tm.base; tm.hello = 1; }
    if (held < tm.got) tm.sent = held; /* The bridge was restarted: go back. */
    if (held <= tm.top) tm_got(now, held);
}
TM_FN void tm_take(uint32_t now, const char *line) {
    const char *boot = strstr(line, " boot=");
    uint32_t n = tm_int(line + 1);
    if (!tm.boot[0] && boot && strlen(boot) > 21 && !strncmp(line, "@new ", 5)) {
        memcpy(tm.boot, boot + 6, 16); tm.got = tm.sent = tm.base;
        tm.hello = 1; tm.said = 0; tm.rto = TM_RTO; tm.hello_at = now + 60000;
    } else if (boot && !strncmp(line, "@ok ", 4) && !strncmp(boot + 6, tm.boot, 16)) tm_ok(now, line);
#ifdef TM_COMMANDS
    else if (*line == '>' && strchr(line, ' ')) tm_ask(n, strchr(line, ' ') + 1);
#endif
    else if (*line == '=' && n <= tm.top) tm_got(now, n);
    else if (*line == '+' && n <= tm.top) tm_safe(now, n);
    else if (*line == '-' && n <= tm.top) tm_again(n);
}
TM_FN void tm_byte(uint32_t now, char c) {
    uint32_t len = tm.len, at = 0;
    if (c != '\n') { tm.in[len] = c; tm.len += len < TM_MAX; return; } /* What is too long has no seal at its end. */
    tm.len = 0; len -= len && tm.in[len - 1] == '\r'; tm.in[len] = 0;
    if (len < 10 || tm.in[len -= 9] != '*') return;
    for (tm_sums(tm.in[0]); at < len; at++) tm_sum(tm.in[at]);
    tm.in[len] = 0; if (strtoul(tm.in + len + 1, 0, 16) == (~tm.crc & TM_LAST)) tm_take(now, tm.in);
}
/* Timers and what is to be said. */
TM_FN int tm_due(uint32_t now, uint32_t at) { return now - at < 0x80000000u; }
TM_FN int tm_hello(uint32_t now) {
    tm_begin("@" TM_NAME " boot="); tm_text(tm.boot[0] ? tm.boot : "-");
    tm_field(" first=", tm.base + 1); tm_field(" lost=", tm.lost);
    if (tm.sent > tm.got) tm_field(" sent=", tm.sent);
    if (tm.full || !tm.boot[0]) { tm_text(TM_INFO); tm_field(" max=", TM_MAX); }
    tm.asked += tm.asked < 5; tm.hello_at = now + (tm.boot[0] ? 60000 : tm.asked * 1000u);
    tm.hello = tm.full = 0; return tm_end(now), tm.said = 1;
}
TM_FN int tm_poll(uint32_t now) {
    uint32_t n = 0, may = tm.sent < tm.top && tm.sent - tm.got < TM_WINDOW;
    if (tm.base == TM_LAST) tm.base = tm.top = tm.got = tm.sent = tm.again = tm.boot[0] = tm.asked = 0;
    if (!tm.boot[0]) return tm.asked && !tm_due(now, tm.hello_at) ? 0 : tm_hello(now);
    if (tm.sent > tm.got && tm_due(now, tm.rto_at)) {
        tm.hello = 1; tm_again(tm.got + 1); tm.rto *= 2;
        if (tm.rto > TM_RTO_MAX) tm.rto = TM_RTO_MAX;
        tm.rto_at = now + tm.rto;
    }
    tm.hello |= tm_due(now, tm.hello_at) || tm_due(now, tm.idle_at);
    if (tm.hello && !(tm.said && may)) return tm_hello(now); /* never two in a row while a line waits */
#ifdef TM_COMMANDS
    if (tm_last.due) {
        tm_last.due = 0; tm_begin("<"); tm_field("", tm_last.n);
        tm_text(tm_last.ok ? " ok" : " err"); tm_text(tm_last.text); return tm_end(now);
    }
#endif
    for (; tm.again && !n; tm.again >>= 1, tm.from++) if ((tm.again & 1) && tm.from > tm.base) n = tm.from;
    if (!n && may) { if (tm.sent == tm.got) tm.rto_at = now + tm.rto; n = ++tm.sent; }
    if (!n) return 0;
    tm_begin("#"); tm_field("", n); tm_text(" "); tm_text(tm.ring[n % TM_LINES]); return tm_end(now);
}
#endif
