//! Any bytes as what an operator signed: envelopes, bundles, roots and files. Whatever is read is written
//! again as it came, and nothing is accepted that the key has not signed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tidemill_bundle::{
    Bundle, Entry, Envelope, Gateway, PayloadType, Root, Trust, read_tmb, write_tmb,
};

fuzz_target!(|data: &[u8]| {
    for kind in [PayloadType::Bundle, PayloadType::Root] {
        if let Ok(envelope) = Envelope::parse(data, kind) {
            assert_eq!(envelope.encode(), data);
        }
    }
    if let Ok(bundle) = Bundle::parse(data) {
        assert_eq!(Bundle::parse(&bundle.encode()).as_ref(), Ok(&bundle));
    }
    if let Ok(root) = Root::parse(data) {
        assert_eq!(Root::parse(&root.encode()).as_ref(), Ok(&root));
    }
    let gateway = Gateway {
        id: "gw",
        groups: &[],
        agent: "0.1.0",
        past: None,
    };
    if let Ok(entries) = read_tmb(data) {
        assert_eq!(read_tmb(&write_tmb(&entries)).as_ref(), Ok(&entries));
        let mut trust = Trust::default();
        for entry in entries {
            match entry {
                Entry::Root(envelope) => {
                    if let Ok(root) = Root::first(&envelope) {
                        trust.begin(root);
                    }
                }
                Entry::Bundle(envelope) => {
                    let _ = trust.judge(&envelope.encode(), None, &gateway);
                }
            }
        }
    }
});
