/* Passes an event on when its temperature is above the limit that the rule sets. */
#include "tidemill.h"

TIDEMILL_MANIFEST({
    "abi": 1,
    "name": "c-filter",
    "inputs": [{"pointer": "/temperature", "type": "f64"}],
    "config": [{"name": "limit", "type": "f64", "default": 50}],
    "outputs": ["out"],
    "tests": [
        {"in": {"temperature": 61}, "out": [{"port": "out", "pass": true}]},
        {"in": {"temperature": 50}, "out": []}
    ]
})

enum { LIMIT };

/* A missing temperature is NaN, which is above nothing. */
TIDEMILL_EXPORT(f)
int f(double temperature) {
    return temperature > tm_cfg_f64(LIMIT);
}
