//! The arguments of `#[function(…)]`, parsed and checked. Inputs are parameters of the function and not parsed here.

use serde_json::{Number, Value};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Ident, Lit, LitInt, LitStr, Token, parenthesized};

/// Content of the attribute.
#[derive(Default)]
pub(crate) struct Spec {
    pub(crate) name: Option<String>,
    pub(crate) outputs: Vec<Ident>,
    pub(crate) config: Vec<Config>,
    pub(crate) slots: Vec<Ident>,
    pub(crate) tumbling: Option<Tumbling>,
    pub(crate) key: Option<String>,
    pub(crate) schema: Option<u64>,
    pub(crate) state_bytes: Option<u64>,
    /// `true` if slots are found again by their names.
    pub(crate) named: bool,
    pub(crate) timers: Vec<Ident>,
    pub(crate) tests: Option<Value>,
}

/// One entry of `config(…)`.
pub(crate) struct Config {
    pub(crate) name: Ident,
    pub(crate) text: bool,
    pub(crate) default: Option<Value>,
    /// The least and the most that a rule may give.
    pub(crate) range: Option<(Number, Number)>,
}

/// `tumbling(length_ms = …, slots(…))`.
pub(crate) struct Tumbling {
    pub(crate) length_ms: u64,
    pub(crate) slots: Vec<Ident>,
}

impl Parse for Spec {
    fn parse(input: ParseStream) -> syn::Result<Spec> {
        let mut spec = Spec::default();
        while !input.is_empty() {
            spec.argument(input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(spec)
    }
}

impl Spec {
    fn argument(&mut self, input: ParseStream) -> syn::Result<()> {
        let name: Ident = input.parse()?;
        match name.to_string().as_str() {
            "outputs" => self.outputs = list(input)?,
            "config" => self.config = list(input)?,
            "slots" => self.slots = list(input)?,
            "tumbling" => self.tumbling = Some(tumbling(&name, input)?),
            "name" => self.name = Some(text(input)?.value()),
            "key" => self.key = Some(text(input)?.value()),
            "schema" => self.schema = Some(integer(input)?),
            "state_bytes" => self.state_bytes = Some(integer(input)?),
            "named" => self.named = true,
            "timers" => self.timers = list(input)?,
            "tests" => {
                let tests = text(input)?;
                self.tests = Some(json_list(&tests)?);
            }
            other => {
                let known = "outputs, config, slots, tumbling, name, key, schema, state_bytes, named, \
                             timers, tests";
                let message = format!("unknown argument `{other}`, there are: {known}");
                return Err(syn::Error::new(name.span(), message));
            }
        }
        Ok(())
    }

    /// All slots, those of the pane first, in the order of their numbers.
    pub(crate) fn all_slots(&self) -> Vec<&Ident> {
        let pane = self.tumbling.iter().flat_map(|tumbling| &tumbling.slots);
        pane.chain(&self.slots).collect()
    }
}

impl Parse for Config {
    fn parse(input: ParseStream) -> syn::Result<Config> {
        let name: Ident = input.parse()?;
        input.parse::<Token![:]>()?;
        let kind: Ident = input.parse()?;
        let text = match kind.to_string().as_str() {
            "f64" => false,
            "str" => true,
            _ => {
                return Err(syn::Error::new(
                    kind.span(),
                    "a config entry is of type f64 or str",
                ));
            }
        };
        let default = match input.parse::<Option<Token![=]>>()? {
            None => None,
            Some(_) if text => Some(Value::from(input.parse::<LitStr>()?.value())),
            Some(_) => Some(Value::Number(number(input)?)),
        };
        let range = match input.parse::<Option<Token![in]>>()? {
            None => None,
            Some(token) if text => {
                return Err(syn::Error::new(token.span, "only a number has a range"));
            }
            Some(_) => {
                let least = number(input)?;
                input.parse::<Token![..=]>()?;
                Some((least, number(input)?))
            }
        };
        Ok(Config {
            name,
            text,
            default,
            range,
        })
    }
}

fn list<T: Parse>(input: ParseStream) -> syn::Result<Vec<T>> {
    let content;
    parenthesized!(content in input);
    let items = Punctuated::<T, Token![,]>::parse_terminated(&content)?;
    Ok(items.into_iter().collect())
}

fn tumbling(name: &Ident, input: ParseStream) -> syn::Result<Tumbling> {
    let content;
    parenthesized!(content in input);
    let (mut length_ms, mut slots) = (None, Vec::new());
    while !content.is_empty() {
        let argument: Ident = content.parse()?;
        match argument.to_string().as_str() {
            "length_ms" => length_ms = Some(integer(&content)?),
            "slots" => slots = list(&content)?,
            _ => {
                return Err(syn::Error::new(
                    argument.span(),
                    "a tumbling window has length_ms and slots",
                ));
            }
        }
        if !content.is_empty() {
            content.parse::<Token![,]>()?;
        }
    }
    let length_ms =
        length_ms.ok_or_else(|| syn::Error::new(name.span(), "length_ms is missing"))?;
    Ok(Tumbling { length_ms, slots })
}

fn text(input: ParseStream) -> syn::Result<LitStr> {
    input.parse::<Token![=]>()?;
    input.parse()
}

fn integer(input: ParseStream) -> syn::Result<u64> {
    input.parse::<Token![=]>()?;
    input.parse::<LitInt>()?.base10_parse()
}

/// A JSON number: a Rust literal with an optional minus.
pub(crate) fn number(input: ParseStream) -> syn::Result<Number> {
    let negative = input.parse::<Option<Token![-]>>()?.is_some();
    let literal: Lit = input.parse()?;
    let digits = match &literal {
        Lit::Int(digits) => digits.base10_digits(),
        Lit::Float(digits) => digits.base10_digits(),
        _ => return Err(syn::Error::new(literal.span(), "a number is expected")),
    };
    let signed = if negative {
        format!("-{digits}")
    } else {
        digits.to_owned()
    };
    if let Ok(integer) = signed.parse::<i64>() {
        return Ok(integer.into());
    }
    let float = signed.parse().ok().and_then(Number::from_f64);
    float.ok_or_else(|| syn::Error::new(literal.span(), "the number is out of range"))
}

fn json_list(literal: &LitStr) -> syn::Result<Value> {
    let tests: Value = serde_json::from_str(&literal.value())
        .map_err(|err| syn::Error::new(literal.span(), format!("not JSON: {err}")))?;
    match tests {
        Value::Array(_) => Ok(tests),
        _ => Err(syn::Error::new(literal.span(), "tests are a JSON list")),
    }
}
