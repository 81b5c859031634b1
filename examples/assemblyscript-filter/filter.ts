// Passes an event on when its temperature is above the limit that the rule sets.

// @ts-ignore: decorators name the import
@external("tidemill1", "cfg_f64")
declare function cfg_f64(index: i32): f64;

const LIMIT = 0;

/** The typed handler. A missing temperature is NaN, which is above nothing. */
export function f(temperature: f64): i32 {
  return temperature > cfg_f64(LIMIT) ? 1 : 0;
}
