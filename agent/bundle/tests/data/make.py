#!/usr/bin/env python3
"""Writes python.tmb: a chain of five roots and a bundle, by Python's `cryptography` alone.

A second implementation of docs/formats.md, so that a mistake of the Rust one does not confirm itself:

    python3 make.py > python.tmb
"""
import base64
import hashlib
import json
import sys

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


def key(seed):
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def public(seed):
    return key(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def key_id(seed):
    return hashlib.sha256(public(seed)).hexdigest()[:32]


def entry(seed, **more):
    return {"id": key_id(seed), "key": base64.b64encode(public(seed)).decode(), **more}


def envelope(kind, document, seeds):
    payload_type = f"application/vnd.tidemill.{kind}.v1+json"
    payload = json.dumps(document, ensure_ascii=False).encode()
    head = f"DSSEv1 {len(payload_type)} {payload_type} {len(payload)} ".encode()
    signatures = [
        {"keyid": key_id(s), "sig": base64.b64encode(key(s).sign(head + payload)).decode()} for s in seeds
    ]
    whole = {
        "payloadType": payload_type,
        "payload": base64.b64encode(payload).decode(),
        "signatures": signatures,
    }
    return json.dumps(whole, separators=(",", ":"))


def root(number, roots, bundle, removed):
    rights = {"scopes": ["group:*"], "bundles": ["*"], "listen": ["sensors/#"], "send": ["local:#"]}
    return {
        "root": number,
        "threshold": 2,
        "issued": "2026-11-01T00:00:00Z",
        "expires": "2029-01-01T00:00:00Z",
        "removed": [key_id(s) for s in removed],
        "root_keys": [entry(s) for s in roots],
        "bundle_keys": [entry(bundle, **rights)],
    }


chain = [([1, 2], 20, []), ([2, 3], 20, [1]), ([3, 4], 20, [1, 2]), ([4, 5], 21, [1, 2, 3, 20]), ([5, 6], 21, [1, 2, 3, 4, 20])]
before = []
for number, (roots, bundle, removed) in enumerate(chain, 1):
    seeds = sorted(set(before) | set(roots))
    print(envelope("root", root(number, roots, bundle, removed), seeds))
    before = roots
manifest = 'name = "hot"\n[on]\nmqtt = ["sensors/+"]\n[function]\nstock = "threshold"\n[ports.out]\nto = "local"\ntopic = "hot"\n'
print(
    envelope(
        "bundle",
        {
            "bundle": "main",
            "scope": "group:a",
            "version": 7,
            "root": 5,
            "min_agent": "0.1.0",
            "issued": "2026-12-01T09:00:00Z",
            "rules": [{"name": "hot", "version": 1, "manifest": manifest}],
        },
        [21],
    ),
    file=sys.stdout,
)
