//! Generates what stands beside an annotated function: exports, the manifest's section, and modules that hold ports, slots and configuration
//! by name. The function itself stays as it was written.

use crate::inputs;
use crate::manifest;
use crate::spec::Spec;
use proc_macro2::{Literal, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Ident, ItemFn, ReturnType};

/// A function marked `#[function]`.
pub(crate) fn function(spec: &Spec, mut item: ItemFn) -> syn::Result<TokenStream> {
    let inputs = inputs::take(&mut item)?;
    let manifest = manifest::json(&item.sig.ident.to_string(), spec, &inputs);
    let (manifest_len, manifest) = (manifest.len(), Literal::byte_string(manifest.as_bytes()));
    let function = &item.sig.ident;
    let result = result(&item);
    let export = if inputs.is_empty() {
        pull_export(function, &result, "on_event")
    } else {
        let names: Vec<_> = inputs.iter().map(|input| &input.name).collect();
        let types: Vec<_> = inputs.iter().map(|input| &input.rust_type).collect();
        let indices = 0_i32..;
        quote! {
            #[cfg(target_arch = "wasm32")]
            #[unsafe(export_name = "f")]
            extern "C" fn tidemill_f(#(#names: <#types as ::tidemill_sdk::Input>::Raw),*) -> <#result as ::tidemill_sdk::Answer>::Raw {
                ::tidemill_sdk::Answer::raw(#function(#(<#types as ::tidemill_sdk::Input>::from_raw(#indices, #names)),*))
            }
        }
    };
    let ports = constants("port", "Port", &spec.outputs.iter().collect::<Vec<_>>());
    let slots = constants("slot", "Slot", &spec.all_slots());
    let config = config(spec);
    Ok(quote! {
        #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only the export calls it"))]
        #item
        #ports
        #slots
        #config
        #export

        #[cfg(target_arch = "wasm32")]
        #[unsafe(link_section = "tidemill.manifest")]
        static TIDEMILL_MANIFEST: [u8; #manifest_len] = *#manifest;
    })
}

/// A function marked `#[on_timer]` or `#[on_window]`.
pub(crate) fn handler(item: ItemFn, name: &str, params: usize) -> syn::Result<TokenStream> {
    if item.sig.inputs.len() != params {
        let message = format!(
            "`{name}` takes {params} parameter{}",
            if params == 1 { "" } else { "s" }
        );
        return Err(syn::Error::new_spanned(&item.sig, message));
    }
    let (function, result) = (&item.sig.ident, result(&item));
    let export = if params == 0 {
        pull_export(function, &result, name)
    } else {
        let export = format_ident!("tidemill_{name}");
        quote! {
            #[cfg(target_arch = "wasm32")]
            #[unsafe(export_name = #name)]
            extern "C" fn #export(id: i32) -> i32 {
                <#result as ::tidemill_sdk::Answer>::raw(#function(id))
            }
        }
    };
    Ok(quote! {
        #[cfg_attr(not(target_arch = "wasm32"), allow(dead_code, reason = "only the export calls it"))]
        #item
        #export
    })
}

/// An export without parameters, whose result the ABI wants as an i32.
fn pull_export(function: &Ident, result: &TokenStream, name: &str) -> TokenStream {
    let export = format_ident!("tidemill_{name}");
    quote! {
        #[cfg(target_arch = "wasm32")]
        #[unsafe(export_name = #name)]
        extern "C" fn #export() -> i32 {
            <#result as ::tidemill_sdk::Answer>::raw(#function())
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
