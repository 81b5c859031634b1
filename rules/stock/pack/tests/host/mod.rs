//! As much of a host as the stock functions need: one rule, one key, a clock that is set by hand. Limits, fuel, manifests and windows are the
//! agent's and not looked at here.

use std::collections::BTreeMap;

use wasmi::{Caller, Engine, Extern, Instance, Linker, Memory, Module, Store};

/// The function's surroundings, and its effects on them.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) now: i64,
    pub(crate) key: &'static str,
    pub(crate) config: Vec<f64>,
    pub(crate) denied_port: Option<i32>,
    pub(crate) emitted: Vec<(i32, String)>,
    payload: String,
    slots: BTreeMap<i32, f64>,
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
    timers: BTreeMap<i32, i64>,
}

/// A stock function with its world.
pub(crate) struct Rule {
    store: Store<World>,
    instance: Instance,
}

impl Rule {
    pub(crate) fn new(wasm: &[u8], config: &[f64]) -> Rule {
        let engine = Engine::default();
        let module = Module::new(&engine, wasm).unwrap();
        let world = World {
            config: config.to_vec(),
            key: "d1",
            ..World::default()
        };
        let mut store = Store::new(&engine, world);
        let mut linker = Linker::new(&engine);
        link(&mut linker).unwrap();
        let instance = linker.instantiate_and_start(&mut store, &module).unwrap();
        Rule { store, instance }
    }

    pub(crate) fn world(&mut self) -> &mut World {
        self.store.data_mut()
    }

    /// Calls the typed handler with `value`; NaN stands for a missing one.
    pub(crate) fn event(&mut self, value: f64, payload: &str) -> i32 {
        self.world().payload = payload.to_owned();
        let handler = self.instance.get_typed_func::<f64, i32>(&self.store, "f");
        handler.unwrap().call(&mut self.store, value).unwrap()
    }

    /// Calls the handler of a function without inputs.
    pub(crate) fn any_event(&mut self) -> i32 {
        let handler = self
            .instance
            .get_typed_func::<(), i32>(&self.store, "on_event");
        handler.unwrap().call(&mut self.store, ()).unwrap()
    }

    /// Calls a typed handler that answers a number.
    pub(crate) fn number(&mut self, value: f64) -> f64 {
        let handler = self.instance.get_typed_func::<f64, f64>(&self.store, "f");
        handler.unwrap().call(&mut self.store, value).unwrap()
    }

    /// Calls the window's handler, and empties the pane's slots.
    pub(crate) fn close_window(&mut self) -> i32 {
        let handler = self
            .instance
            .get_typed_func::<(), i32>(&self.store, "on_window");
        let result = handler.unwrap().call(&mut self.store, ()).unwrap();
        self.world().slots.clear();
        result
    }

    /// Lets time pass, and calls the timers that fall due.
    pub(crate) fn advance(&mut self, ms: i64) {
        let until = self.world().now + ms;
        while let Some((id, due)) = self.next_due(until) {
            self.world().now = due;
            self.world().timers.remove(&id);
            let handler = self
                .instance
                .get_typed_func::<i32, i32>(&self.store, "on_timer");
            assert_eq!(handler.unwrap().call(&mut self.store, id).unwrap(), 0);
        }
        self.world().now = until;
    }

    fn next_due(&mut self, until: i64) -> Option<(i32, i64)> {
        let timers = self.world().timers.iter().map(|(&id, &due)| (id, due));
        timers
            .filter(|&(_, due)| due <= until)
            .min_by_key(|&(_, due)| due)
    }

    /// The emissions since the last call.
    pub(crate) fn emitted(&mut self) -> Vec<(i32, String)> {
        std::mem::take(&mut self.world().emitted)
    }
}

type Host<'a> = Caller<'a, World>;

fn link(linker: &mut Linker<World>) -> Result<(), wasmi::Error> {
    let m = "tidemill1";
    linker.func_wrap(m, "cfg_f64", |c: Host, i: i32| c.data().config[i as usize])?;
    linker.func_wrap(m, "reg_get", |c: Host, slot: i32| {
        c.data().slots.get(&slot).copied().unwrap_or(0.0)
    })?;
    linker.func_wrap(m, "reg_set", |mut c: Host, slot: i32, v: f64| {
        c.data_mut().slots.insert(slot, v);
    })?;
    linker.func_wrap(m, "ev_i64", |c: Host, what: i32| match what {
        1 => c.data().now,
        5 => c.data().now - 1000,
        6 => c.data().now,
        _ => panic!("no test asks for ev_i64({what})"),
    })?;
    linker.func_wrap(
        m,
        "ev_bytes",
        |mut c: Host, what: i32, off: i32, ptr: i32, cap: i32| {
            assert_eq!(off, 0);
            let bytes = if what == 2 {
                c.data().key.to_owned()
            } else {
                c.data().payload.clone()
            };
            write(&mut c, bytes.as_bytes(), ptr, cap)
        },
    )?;
    linker.func_wrap(m, "fmt_f64", |mut c: Host, v: f64, ptr: i32, cap: i32| {
        write(&mut c, v.to_string().as_bytes(), ptr, cap)
    })?;
    linker.func_wrap(m, "timer", |mut c: Host, id: i32, delay_ms: i64| {
        let due = c.data().now + delay_ms;
        if delay_ms < 0 {
            c.data_mut().timers.remove(&id);
        } else {
            c.data_mut().timers.insert(id, due);
        }
        0
    })?;
    linker.func_wrap(m, "emit_f64", |mut c: Host, port: i32, v: f64| {
        emit(&mut c, port, v.to_string())
    })?;
    linker.func_wrap(m, "emit", |mut c: Host, port: i32, ptr: i32, len: i32| {
        let payload = String::from_utf8(read(&c, ptr, len)).unwrap();
        emit(&mut c, port, payload)
    })?;
    linker.func_wrap(
        m,
        "st_put",
        |mut c: Host, kp: i32, kl: i32, vp: i32, vl: i32| {
            let (key, value) = (read(&c, kp, kl), read(&c, vp, vl));
            c.data_mut().entries.insert(key, value);
            0
        },
    )?;
    linker.func_wrap(
        m,
        "st_get",
        |mut c: Host, kp: i32, kl: i32, vp: i32, vc: i32| {
            let key = read(&c, kp, kl);
            match c.data().entries.get(&key).cloned() {
                Some(value) => write(&mut c, &value, vp, vc),
                None => -1,
            }
        },
    )?;
    linker.func_wrap(m, "st_del", |mut c: Host, kp: i32, kl: i32| {
        let key = read(&c, kp, kl);
        if c.data_mut().entries.remove(&key).is_some() {
            0
        } else {
            -1
        }
    })?;
    Ok(())
}

fn emit(c: &mut Host, port: i32, payload: String) -> i32 {
    if c.data().denied_port == Some(port) {
        return -4;
    }
    c.data_mut().emitted.push((port, payload));
    0
}

fn memory(c: &Host) -> Memory {
    c.get_export("memory")
        .and_then(Extern::into_memory)
        .unwrap()
}

fn read(c: &Host, ptr: i32, len: i32) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    memory(c).read(c, ptr as usize, &mut bytes).unwrap();
    bytes
}

fn write(c: &mut Host, bytes: &[u8], ptr: i32, cap: i32) -> i32 {
    let written = &bytes[..bytes.len().min(cap as usize)];
    memory(c).write(c, ptr as usize, written).unwrap();
    bytes.len() as i32
}
