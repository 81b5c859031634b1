//! Parameters of the annotated function as inputs of the manifest. Their conversion from Wasm types is left to the `Input` trait of the SDK.

use crate::spec::number;
use serde_json::{Map, Value};
use syn::parse::{Parse, ParseStream};
use syn::{FnArg, Ident, ItemFn, LitBool, LitStr, Pat, Token, Type};
use tidemill_abi::limit;

/// One input.
pub(crate) struct Input {
    name: Ident,
    abi_type: &'static str,
    pointer: String,
    default: Option<Value>,
}

impl Input {
    pub(crate) fn json(&self) -> Value {
        let mut input = Map::new();
        let name = self.name.to_string();
        // The last segment of the pointer is the name where none is given.
        if self.pointer.rsplit('/').next() != Some(&name) {
            input.insert("name".into(), name.into());
        }
        input.insert("pointer".into(), self.pointer.as_str().into());
        input.insert("type".into(), self.abi_type.into());
        if let Some(default) = &self.default {
            input.insert("default".into(), default.clone());
        }
        input.into()
    }
}

/// Reads the inputs off the parameters, and takes the `#[input(…)]` attributes away.
pub(crate) fn take(item: &mut ItemFn) -> syn::Result<Vec<Input>> {
    if let Some(beyond) = item.sig.inputs.iter().nth(limit::TYPED_PARAMS_MAX) {
        return Err(syn::Error::new_spanned(
            beyond,
            format!("a function has at most {} inputs", limit::TYPED_PARAMS_MAX),
        ));
    }
    item.sig.inputs.iter_mut().map(input).collect()
}

fn input(param: &mut FnArg) -> syn::Result<Input> {
    let FnArg::Typed(param) = param else {
        return Err(syn::Error::new_spanned(param, "an input has a name"));
    };
    let Pat::Ident(pattern) = &*param.pat else {
        return Err(syn::Error::new_spanned(&param.pat, "an input has a name"));
    };
    let name = pattern.ident.clone();
    let abi_type = abi_type(&param.ty)?;
    let mut attribute = Attribute::default();
    for found in param
        .attrs
        .extract_if(.., |found| found.path().is_ident("input"))
    {
        attribute = found.parse_args()?;
    }
    let pointer = match attribute.pointer {
        None => format!("/{name}"),
        Some(pointer) if pointer.value().starts_with('/') => pointer.value(),
        Some(pointer) => {
            return Err(syn::Error::new(
                pointer.span(),
                "a JSON pointer starts with /",
            ));
        }
    };
    Ok(Input {
        name,
        abi_type,
        pointer,
        default: attribute.default,
    })
}

/// `#[input("/pointer", default = 1)]`, either part optional.
#[derive(Default)]
struct Attribute {
    pointer: Option<LitStr>,
    default: Option<Value>,
}

impl Parse for Attribute {
    fn parse(input: ParseStream) -> syn::Result<Attribute> {
        let mut attribute = Attribute::default();
        while !input.is_empty() {
            if input.peek(LitStr) {
                attribute.pointer = Some(input.parse()?);
            } else {
                let name: Ident = input.parse()?;
                if name != "default" {
                    return Err(syn::Error::new(
                        name.span(),
                        "an input has a pointer and a default",
                    ));
                }
                input.parse::<Token![=]>()?;
                attribute.default = Some(default(input)?);
            }
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        Ok(attribute)
    }
}

fn default(input: ParseStream) -> syn::Result<Value> {
    if input.peek(LitStr) {
        return Ok(input.parse::<LitStr>()?.value().into());
    }
    if input.peek(LitBool) {
        // The ABI knows no booleans: they are integers there.
        return Ok(u8::from(input.parse::<LitBool>()?.value).into());
    }
    Ok(Value::Number(number(input)?))
}

/// The manifest's word for a Rust type. Aliases are not seen through, since a macro sees words only.
fn abi_type(rust_type: &Type) -> syn::Result<&'static str> {
    let last = match rust_type {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    match last.map(|segment| segment.ident.to_string()).as_deref() {
        Some("f64" | "Option") => Ok("f64"),
        Some("i64") => Ok("i64"),
        Some("i32" | "bool") => Ok("i32"),
        Some("Text") => Ok("bytes"),
        _ => {
            let message = "an input is of type f64, Option<f64>, i64, i32, bool or Text";
            Err(syn::Error::new_spanned(rust_type, message))
        }
    }
}
