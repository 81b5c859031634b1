//! Generates what stands beside an annotated function: exports, the manifest's section, and modules that hold ports, slots and configuration
//! by name. The function itself stays as it was written.

use crate::inputs;
use crate::manifest;
use crate::spec::Spec;
use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{FnArg, Ident, ItemFn, ReturnType};
use tidemill_abi::{MANIFEST_SECTION, export, limit};

/// A function marked `#[function]`.
pub(crate) fn function(spec: &Spec, mut item: ItemFn) -> syn::Result<TokenStream> {
    let inputs = inputs::take(&mut item)?;
    let slots = spec.all_slots();
    if let Some(beyond) = slots.get(limit::SLOTS_MAX) {
        let message = format!("a function has at most {} slots", limit::SLOTS_MAX);
        return Err(syn::Error::new(beyond.span(), message));
    }
    let manifest = manifest::json(&item.sig.ident.to_string(), spec, &inputs);
    if manifest.len() > limit::MANIFEST_BYTES_MAX {
        let message = format!(
            "the manifest has {} bytes, at most {} are allowed",
            manifest.len(),
            limit::MANIFEST_BYTES_MAX
        );
        return Err(syn::Error::new(item.sig.ident.span(), message));
    }
    let name = if inputs.is_empty() {
        export::ON_EVENT
    } else {
        export::TYPED
    };
    let answer = match (&spec.tumbling, inputs.is_empty()) {
        (Some(_), _) => AnswerKind::Quiet,
        (None, true) => AnswerKind::I32,
        (None, false) => AnswerKind::Any,
    };
    let export = export_of(&item, name, answer);
    let ports = constants("port", "Port", &spec.outputs.iter().collect::<Vec<_>>());
    let slots = constants("slot", "Slot", &slots);
    let config = config(spec);
    let (manifest_len, manifest) = (manifest.len(), Literal::byte_string(manifest.as_bytes()));
    Ok(quote! {
        #item
        #ports
        #slots
        #config
        #export

        #[cfg(target_arch = "wasm32")]
        #[unsafe(link_section = #MANIFEST_SECTION)]
        static TIDEMILL_MANIFEST: [u8; #manifest_len] = *#manifest;
    })
}

/// A function marked `#[on_timer]` or `#[on_window]`.
pub(crate) fn handler(item: ItemFn, name: &str, params: usize) -> syn::Result<TokenStream> {
    if item.sig.inputs.len() != params {
        let plural = if params == 1 { "" } else { "s" };
        let message = format!("`{name}` takes {params} parameter{plural}");
        return Err(syn::Error::new_spanned(&item.sig, message));
    }
    let export = export_of(&item, name, AnswerKind::Quiet);
    Ok(quote! {
        #item
        #export
    })
}

/// The kind of answer that a handler gives.
enum AnswerKind {
    /// `true` to pass the input on, or a number.
    Any,
    /// `true` to pass the input on.
    I32,
    /// Nothing: there is no input to pass on.
    Quiet,
}

/// The function that the host calls. Elsewhere than on wasm32 it is compiled and not exported, so that mistakes show there too.
fn export_of(item: &ItemFn, name: &str, answer: AnswerKind) -> TokenStream {
    let function = &item.sig.ident;
    let export = format_ident!("tidemill_{name}");
    let types = item.sig.inputs.iter().filter_map(|param| match param {
        FnArg::Typed(param) => Some(&*param.ty),
        FnArg::Receiver(_) => None,
    });
    let types: Vec<_> = types.collect();
    let params: Vec<_> = (0..types.len())
        .map(|index| format_ident!("p{index}"))
        .collect();
    let indices = 0_i32..;
    let result = result(item);
    let raw = match answer {
        AnswerKind::Any => quote!(<#result as ::tidemill_sdk::Answer>::Raw),
        AnswerKind::I32 | AnswerKind::Quiet => quote!(i32),
    };
    let convert = match answer {
        AnswerKind::Any | AnswerKind::I32 => quote!(::tidemill_sdk::Answer::raw),
        AnswerKind::Quiet => quote!(::tidemill_sdk::generated::quiet),
    };
    quote! {
        #[cfg_attr(target_arch = "wasm32", unsafe(export_name = #name))]
        #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only the host calls it"))]
        extern "C" fn #export(#(#params: <#types as ::tidemill_sdk::Input>::Raw),*) -> #raw {
            #convert(#function(#(<#types as ::tidemill_sdk::Input>::from_raw(#indices, #params)),*))
        }
    }
}

fn result(item: &ItemFn) -> TokenStream {
    match &item.sig.output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, result) => quote!(#result),
    }
}

/// A module of constants with the names in capitals, numbered in their order.
fn constants(module: &str, kind: &str, names: &[&Ident]) -> TokenStream {
    if names.is_empty() {
        return TokenStream::new();
    }
    let (module, kind) = (
        Ident::new(module, Span::call_site()),
        Ident::new(kind, Span::call_site()),
    );
    let names = names
        .iter()
        .map(|name| Ident::new(&name.to_string().to_uppercase(), name.span()));
    let indices = 0_i32..;
    quote! {
        #[allow(dead_code, reason = "a name in the manifest need not be used")]
        mod #module {
            #(pub(super) const #names: ::tidemill_sdk::#kind = ::tidemill_sdk::#kind::new(#indices);)*
        }
    }
}

/// A module of functions, one for each entry of the configuration.
fn config(spec: &Spec) -> TokenStream {
    if spec.config.is_empty() {
        return TokenStream::new();
    }
    let functions = (0_i32..).zip(&spec.config).map(|(index, entry)| {
        let name = &entry.name;
        if entry.text {
            quote!(pub(super) fn #name() -> ::tidemill_sdk::Text { ::tidemill_sdk::generated::config_text(#index) })
        } else {
            quote!(pub(super) fn #name() -> f64 { ::tidemill_sdk::generated::config_f64(#index) })
        }
    });
    quote! {
        #[allow(dead_code, reason = "a name in the manifest need not be used")]
        mod cfg {
            #(#functions)*
        }
    }
}
