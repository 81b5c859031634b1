//! The attributes of `tidemill-sdk`. They turn annotated functions into the exports of the ABI and a manifest in a custom section; what they
//! mean to the user is described in `tidemill-sdk`, what the manifest means in `docs/abi.md`.

mod expand;
mod inputs;
mod manifest;
mod spec;

use proc_macro::TokenStream;
use syn::{ItemFn, parse_macro_input};
use tidemill_abi::export;

/// Makes a function the handler of events. See the crate's documentation for the arguments.
#[proc_macro_attribute]
pub fn function(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let spec = parse_macro_input!(arguments as spec::Spec);
    let item = parse_macro_input!(item as ItemFn);
    finish(expand::function(&spec, item))
}

/// Makes a function of one `i32` the handler of timers: it is called with the id of a timer that is due.
#[proc_macro_attribute]
pub fn on_timer(arguments: TokenStream, item: TokenStream) -> TokenStream {
    parse_macro_input!(arguments as syn::parse::Nothing);
    let item = parse_macro_input!(item as ItemFn);
    finish(expand::handler(item, export::ON_TIMER, 1))
}

/// Makes a function without parameters the handler of panes that close.
#[proc_macro_attribute]
pub fn on_window(arguments: TokenStream, item: TokenStream) -> TokenStream {
    parse_macro_input!(arguments as syn::parse::Nothing);
    let item = parse_macro_input!(item as ItemFn);
    finish(expand::handler(item, export::ON_WINDOW, 0))
}

fn finish(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded
        .unwrap_or_else(syn::Error::into_compile_error)
        .into()
}
