;; Passes an event on when its temperature is above the limit that the rule sets.
(module
  (@custom "tidemill.manifest"
    "{\"abi\":1,\"name\":\"wat-filter\",\"inputs\":[{\"pointer\":\"/temperature\",\"type\":\"f64\"}],"
    "\"config\":[{\"name\":\"limit\",\"type\":\"f64\",\"default\":50}],\"outputs\":[\"out\"],"
    "\"tests\":[{\"in\":{\"temperature\":61},\"out\":[{\"port\":\"out\",\"pass\":true}]},{\"in\":{\"temperature\":50},\"out\":[]}]}")
  (import "tidemill1" "cfg_f64" (func $cfg_f64 (param i32) (result f64)))
  ;; A missing temperature is NaN, which is above nothing.
  (func (export "f") (param $temperature f64) (result i32)
    (f64.gt (local.get $temperature) (call $cfg_f64 (i32.const 0)))))
