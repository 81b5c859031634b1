//! One living instance: a wasmi store and the handlers found in it. It lends the frame for the time
//! of a call and judges the answer. When to throw it away is left to its owner.

use std::sync::Arc;

use tidemill_abi::{export, limit};
use wasmi::{F64, Func, Store, TrapCode, TypedFunc, Val};

use super::error::{CallFault, LoadError};
use super::guest::GuestFault;
use super::host::{Host, Terms};
use super::imports::push_emission;
use super::number::{NumberText, canonical};
use super::price::DECODED_FUEL;
use super::values::Values;
use super::{Handler, Module, Shared, Verdict};
use crate::event::value::Value;
use crate::function::frame::Frame;

/// A store and its handlers.
pub(super) struct Instance {
    store: Store<Host>,
    event: Option<EventHandler>,
    timer: Option<TypedFunc<i32, i32>>,
    window: Option<TypedFunc<(), i32>>,
    migrate: Option<TypedFunc<i32, i32>>,
    /// Fuel that the last call was granted.
    granted: u64,
    /// Fuel that the start used.
    start: u64,
}

/// The handler of events. The common small signatures are called without a list of values, which
/// saves a third of a call.
enum EventHandler {
    Pull(TypedFunc<(), i32>),
    One(TypedFunc<f64, i32>),
    Two(TypedFunc<(f64, f64), i32>),
    Any(AnyHandler),
}

/// A typed handler of any signature, with room for its values.
struct AnyHandler {
    function: Func,
    types: Box<[wasmi::ValType]>,
    params: Vec<Val>,
    result: [Val; 1],
}

/// The value that a handler returned.
enum Answer {
    Code(i32),
    Integer(i64),
    Number(f64),
}

impl Instance {
    /// Makes an instance and lets it start, with fuel of its own and effects that lead nowhere.
    pub(super) fn start(
        shared: &Shared,
        module: &Module,
        terms: &Arc<Terms>,
    ) -> Result<Self, LoadError> {
        let mut host = Host::new(terms, module.manifest.outputs.len(), &shared.limits);
        host.values = Values::new(module.manifest.sql.clone().unwrap_or_default());
        let mut store = Store::new(&shared.engine, host);
        store.limiter(|host| &mut host.limits);
        let fuel = shared.limits.fuel_start;
        let failed = |error| LoadError::Start(Box::new(fault(error, fuel)));
        store.set_fuel(fuel).map_err(failed)?;
        let instance = shared
            .linker
            .instantiate_and_start(&mut store, &module.code)
            .map_err(failed)?;
        store.data_mut().memory = instance.get_memory(&store, export::MEMORY);
        for name in [export::INITIALIZE, export::INIT] {
            if let Ok(start) = instance.get_typed_func::<(), ()>(&store, name) {
                start.call(&mut store, ()).map_err(failed)?;
            }
        }
        store.data_mut().frame.effects.clear();
        store.data_mut().values.end();
        let event = if module.typed {
            EventHandler::typed(&instance, &store)
        } else {
            let pull = instance.get_typed_func(&store, export::ON_EVENT);
            pull.ok().map(EventHandler::Pull)
        };
        Ok(Self {
            event,
            timer: instance.get_typed_func(&store, export::ON_TIMER).ok(),
            window: instance.get_typed_func(&store, export::ON_WINDOW).ok(),
            migrate: instance.get_typed_func(&store, export::MIGRATE).ok(),
            granted: 0,
            start: fuel.saturating_sub(store.get_fuel().unwrap_or(0)),
            store,
        })
    }

    /// Lends the frame, calls, takes the frame back, and judges the answer.
    pub(super) fn call(
        &mut self,
        handler: Handler,
        frame: &mut Box<Frame>,
        terms: &Arc<Terms>,
    ) -> Result<Verdict, CallFault> {
        let fuel = granted(handler, frame, terms);
        self.granted = fuel;
        let left = fuel.saturating_sub(spent(handler, frame));
        self.store
            .set_fuel(left)
            .map_err(|error| fault(error, fuel))?;
        let host = self.store.data_mut();
        std::mem::swap(&mut host.frame, frame);
        host.begin(handler, terms);
        let outcome = self.run(handler, fuel);
        let settled = self.settle(fuel);
        let outcome = outcome.and_then(|answer| settled.map(|()| answer));
        let outcome = outcome.and_then(|answer| judge(handler, answer, self.store.data_mut()));
        let host = self.store.data_mut();
        std::mem::swap(&mut host.frame, frame);
        host.values.end();
        outcome
    }

    /// Fuel that the start used.
    pub(super) fn fuel_start(&self) -> u64 {
        self.start
    }

    /// Pays what the call still owes.
    fn settle(&mut self, limit: u64) -> Result<(), CallFault> {
        let host = self.store.data_mut();
        if host.owed == 0 && host.more == 0 {
            return Ok(());
        }
        let owed = std::mem::take(&mut host.owed);
        self.granted = self.granted.saturating_add(host.more);
        let left = self.store.get_fuel().unwrap_or(0).checked_sub(owed);
        let paid = self.store.set_fuel(left.unwrap_or(0));
        paid.map_err(|error| fault(error, limit))?;
        left.map(drop).ok_or(CallFault::OutOfFuel { limit })
    }

    /// Fuel that the last call was granted, also on its way.
    pub(super) fn granted(&self) -> u64 {
        self.granted
    }

    /// Fuel used by the last call.
    pub(super) fn fuel_used(&self) -> u64 {
        let left = self.store.get_fuel().unwrap_or(0);
        self.granted.saturating_sub(left)
    }

    fn run(&mut self, handler: Handler, fuel: u64) -> Result<Answer, CallFault> {
        let store = &mut self.store;
        let answer = match handler {
            Handler::Event => match &mut self.event {
                Some(event) => return event.call(store, fuel),
                None => return missing(export::ON_EVENT),
            },
            Handler::Timer(id) => match &self.timer {
                Some(timer) => timer.call(store, id.cast_signed()),
                None => return missing(export::ON_TIMER),
            },
            Handler::Window => match &self.window {
                Some(window) => window.call(store, ()),
                None => return missing(export::ON_WINDOW),
            },
            Handler::Migrate(from) => match &self.migrate {
                Some(migrate) => migrate.call(store, from),
                None => return missing(export::MIGRATE),
            },
        };
        answer.map(Answer::Code).map_err(|error| fault(error, fuel))
    }
}

impl EventHandler {
    fn typed(instance: &wasmi::Instance, store: &Store<Host>) -> Option<Self> {
        let function = instance.get_func(store, export::TYPED)?;
        if let Ok(one) = function.typed(store) {
            return Some(Self::One(one));
        }
        if let Ok(two) = function.typed(store) {
            return Some(Self::Two(two));
        }
        let ty = function.ty(store);
        Some(Self::Any(AnyHandler {
            types: ty.params().into(),
            params: Vec::with_capacity(ty.params().len()),
            result: [Val::default_for_ty(*ty.results().first()?)],
            function,
        }))
    }

    fn call(&mut self, store: &mut Store<Host>, fuel: u64) -> Result<Answer, CallFault> {
        let inputs = store.data().frame.inputs.as_slice();
        let answer = match (self, inputs) {
            (Self::Pull(pull), _) => pull.call(store, ()),
            (Self::One(one), &[Value::F64(a)]) => one.call(store, canonical(a)),
            (Self::Two(two), &[Value::F64(a), Value::F64(b)]) => {
                two.call(store, (canonical(a), canonical(b)))
            }
            (Self::One(_) | Self::Two(_), _) => return Err(CallFault::Inputs),
            (Self::Any(any), _) => return any.call(store, fuel),
        };
        answer.map(Answer::Code).map_err(|error| fault(error, fuel))
    }
}

impl AnyHandler {
    fn call(&mut self, store: &mut Store<Host>, fuel: u64) -> Result<Answer, CallFault> {
        self.params.clear();
        let inputs = store.data().frame.inputs.iter();
        self.params.extend(inputs.map(|value| match *value {
            Value::F64(value) => Val::F64(F64::from(canonical(value))),
            Value::I64(value) => Val::I64(value),
            Value::I32(value) => Val::I32(value),
            Value::Bytes(span) => {
                let len = span.and_then(|span| i32::try_from(span.len).ok());
                Val::I32(len.unwrap_or(-1))
            }
        }));
        let types = self.types.iter().copied();
        if !types.eq(self.params.iter().map(Val::ty)) {
            return Err(CallFault::Inputs);
        }
        self.function
            .call(store, &self.params, &mut self.result)
            .map_err(|error| fault(error, fuel))?;
        match &self.result {
            [Val::I64(value)] => Ok(Answer::Integer(*value)),
            [Val::F64(value)] => Ok(Answer::Number(f64::from(*value))),
            [Val::I32(value)] => Ok(Answer::Code(*value)),
            _ => Err(CallFault::Inputs),
        }
    }
}

/// The fuel of a call: an event has some more for each byte of its payload, a firing for each row and its bytes, or a long
/// message and a full window would run out of what is plenty otherwise.
#[inline]
fn granted(handler: Handler, frame: &Frame, terms: &Terms) -> u64 {
    let (rows, bytes) = match handler {
        Handler::Event => (0, frame.event.payload.len() + frame.event.properties.len()),
        Handler::Window => (frame.rows.len(), frame.row_bytes()),
        Handler::Timer(_) | Handler::Migrate(_) => (0, 0),
    };
    let more = rows as u64 * limit::FUEL_PER_ROW + bytes as u64 * limit::FUEL_PER_BYTE;
    terms
        .fuel
        .saturating_add(more)
        .saturating_add(spent(handler, frame))
}

/// Fuel spent before the call, and granted for that: a payload that is no plain JSON is read as a row whatever the
/// function reads.
#[inline]
fn spent(handler: Handler, frame: &Frame) -> u64 {
    if handler == Handler::Event && frame.value.is_some() {
        frame.event.payload.len() as u64 * DECODED_FUEL
    } else {
        0
    }
}

/// Interprets a handler's return value. A number goes out through port 0, if the rule binds it.
fn judge(handler: Handler, answer: Answer, host: &mut Host) -> Result<Verdict, CallFault> {
    let windowed = host.terms.windowed;
    let text;
    let payload = match answer {
        Answer::Code(0) => return Ok(Verdict::Done),
        Answer::Code(code @ ..0) => return Err(CallFault::Rule { code }),
        Answer::Code(code) => {
            let port = u8::try_from(code - 1).unwrap_or(u8::MAX);
            // Without ports it is the mill that says what is wrong.
            let is_port = port == 0 || usize::from(port) < host.ports;
            if is_port && handler == Handler::Event && !windowed {
                return Ok(Verdict::Pass(port));
            }
            let handler = name_of(handler);
            return Err(CallFault::BadResult { handler, code });
        }
        Answer::Integer(value) => value.to_string().into_bytes(),
        // NaN says that there is nothing to send, and JSON has no infinities.
        Answer::Number(value) if !value.is_finite() => return Ok(Verdict::Done),
        Answer::Number(value) => {
            text = NumberText::new(value);
            text.as_bytes().to_vec()
        }
    };
    if host.terms.bound_ports & 1 != 0 {
        push_emission(host, 0, &payload);
    }
    Ok(Verdict::Done)
}

fn name_of(handler: Handler) -> &'static str {
    match handler {
        Handler::Event => export::ON_EVENT,
        Handler::Timer(_) => export::ON_TIMER,
        Handler::Window => export::ON_WINDOW,
        Handler::Migrate(_) => export::MIGRATE,
    }
}

fn missing<T>(handler: &'static str) -> Result<T, CallFault> {
    Err(CallFault::NoHandler { handler })
}

/// Translates an error of wasmi.
#[cold]
fn fault(error: wasmi::Error, limit: u64) -> CallFault {
    if let Some(fault) = error.downcast_ref::<GuestFault>() {
        return match fault {
            GuestFault::OutOfFuel => CallFault::OutOfFuel { limit },
            GuestFault::Data { reason } => CallFault::Data {
                reason: reason.clone(),
            },
            other => CallFault::Abi(other.clone()),
        };
    }
    match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => CallFault::OutOfFuel { limit },
        Some(code) => CallFault::Trap {
            reason: code.trap_message().into(),
        },
        None => CallFault::Trap {
            reason: error.to_string().into(),
        },
    }
}
