/* The Tidemill function ABI, version 1, for C and C++: imports, codes, selectors, and macros for exports and the manifest. docs/abi.md says what
 * each does. For clang with wasm-ld; nothing of it needs a C library.
 *
 *   TIDEMILL_MANIFEST({"abi": 1, "inputs": [{"pointer": "/temperature", "type": "f64"}]})
 *
 *   TIDEMILL_EXPORT(f)
 *   int f(double temperature) { return temperature > 50; }
 *
 * Build with --target=wasm32-unknown-unknown -Oz -nostdlib -Wl,--no-entry,-z,stack-size=16384 and finish with tidemill-pack.
 */
#ifndef TIDEMILL_H
#define TIDEMILL_H

#ifdef __cplusplus
extern "C" {
#define TIDEMILL_C extern "C"
#else
#define TIDEMILL_C
#endif

typedef __INT32_TYPE__ tm_i32;
typedef __INT64_TYPE__ tm_i64;

/* Put it before a handler: f, on_event, on_timer, on_window, init, migrate. */
#define TIDEMILL_EXPORT(name) TIDEMILL_C __attribute__((export_name(#name)))

/* The manifest, written as JSON without quotes around it. Once per module, outside of functions. It is quoted twice, for C and for the
 * assembler that makes a custom section of it. */
#define TIDEMILL_QUOTE(text) #text
#define TIDEMILL_ASCII(text) ".ascii " TIDEMILL_QUOTE(text) "\n"
#define TIDEMILL_MANIFEST(...) \
    __asm__(".section .custom_section.tidemill.manifest,\"\",@\n" TIDEMILL_ASCII(#__VA_ARGS__) ".text\n");

#define TIDEMILL_IMPORT(name) __attribute__((import_module("tidemill1"), import_name(#name)))

/* What imports answer below 0. */
enum {
    TM_NOT_FOUND = -1,
    TM_BAD_ARGUMENT = -2,
    TM_TOO_BIG = -3,
    TM_DENIED = -4,
    TM_QUOTA = -5,
    TM_RATE = -6,
    TM_WRONG_CONTEXT = -7
};

/* What a handler answers. TM_PASS_TO(n) passes the input on through port n, TM_PASS through the first. */
enum { TM_HANDLED = 0, TM_PASS = 1 };
#define TM_PASS_TO(port) (TM_PASS + (port))

/* For tm_ev_bytes. */
enum { TM_PAYLOAD = 0, TM_TOPIC = 1, TM_KEY = 2, TM_PROPERTIES = 3 };

/* For tm_ev_i64. */
enum {
    TM_EVENT_MS = 0,
    TM_ARRIVAL_MS = 1,
    TM_IN_SEQ = 2,
    TM_FLAGS = 3,
    TM_PAYLOAD_LEN = 4,
    TM_PANE_START = 5,
    TM_PANE_END = 6,
    TM_REVISION = 7,
    TM_FOLDED = 8,
    TM_STREAMS = 9
};

/* For tm_win. */
enum { TM_BEGIN = 1, TM_FIRE = 2, TM_NEXT = 3 };

/* Bits of tm_ev_i64(TM_FLAGS). */
enum { TM_LATE = 1, TM_BAD_TIME = 2, TM_UNSYNCED_CLOCK = 4 };

/* For tm_log. */
enum { TM_ERROR = 0, TM_WARN = 1, TM_INFO = 2, TM_DEBUG = 3 };

/* Inputs, by their index in the manifest. */
TIDEMILL_IMPORT(in_f64) double tm_in_f64(tm_i32 i);
TIDEMILL_IMPORT(in_i64) tm_i64 tm_in_i64(tm_i32 i);
TIDEMILL_IMPORT(in_bytes) tm_i32 tm_in_bytes(tm_i32 i, void *ptr, tm_i32 cap);

/* The event. */
TIDEMILL_IMPORT(ev_bytes) tm_i32 tm_ev_bytes(tm_i32 what, tm_i32 off, void *ptr, tm_i32 cap);
TIDEMILL_IMPORT(ev_i64) tm_i64 tm_ev_i64(tm_i32 what);

/* State: numbered slots, and entries by name. */
TIDEMILL_IMPORT(reg_get) double tm_reg_get(tm_i32 slot);
TIDEMILL_IMPORT(reg_set) void tm_reg_set(tm_i32 slot, double v);
TIDEMILL_IMPORT(st_get) tm_i32 tm_st_get(const void *key, tm_i32 key_len, void *ptr, tm_i32 cap);
TIDEMILL_IMPORT(st_put) tm_i32 tm_st_put(const void *key, tm_i32 key_len, const void *ptr, tm_i32 len);
TIDEMILL_IMPORT(st_del) tm_i32 tm_st_del(const void *key, tm_i32 key_len);

/* What goes out. */
TIDEMILL_IMPORT(emit) tm_i32 tm_emit(tm_i32 port, const void *ptr, tm_i32 len);
TIDEMILL_IMPORT(emit_f64) tm_i32 tm_emit_f64(tm_i32 port, double v);
TIDEMILL_IMPORT(fmt_f64) tm_i32 tm_fmt_f64(double v, void *ptr, tm_i32 cap);

/* A window whose rows the host keeps: rows put by the handler of events, and read by on_window. */
TIDEMILL_IMPORT(row_put) tm_i32 tm_row_put(const void *ptr, tm_i32 len);
TIDEMILL_IMPORT(rows) tm_i32 tm_rows(void);
TIDEMILL_IMPORT(row_get) tm_i32 tm_row_get(tm_i32 i, void *ptr, tm_i32 cap);
TIDEMILL_IMPORT(win) tm_i32 tm_win(tm_i32 what);

/* The rest. */
TIDEMILL_IMPORT(timer) tm_i32 tm_timer(tm_i32 id, tm_i64 delay_ms);
TIDEMILL_IMPORT(cfg_f64) double tm_cfg_f64(tm_i32 i);
TIDEMILL_IMPORT(cfg_bytes) tm_i32 tm_cfg_bytes(tm_i32 i, void *ptr, tm_i32 cap);
TIDEMILL_IMPORT(log) void tm_log(tm_i32 level, const void *ptr, tm_i32 len);
TIDEMILL_IMPORT(rand) tm_i64 tm_rand(void);

#ifdef __cplusplus
}
#endif

#endif
