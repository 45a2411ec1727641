//! The envelope around a statement (DSSE v1): what is signed is its type and its bytes as they are, so
//! nothing has to be read before it is known to be whole.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::Ed25519KeyPair;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::fields::{FieldChange, SignedFields};
use super::{PREDICATE_TYPE, STATEMENT_TYPE, Statement};
use crate::PublicKey;
use crate::audit::signature_of;

/// The type of an in-toto statement's bytes.
const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";

/// A statement and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    /// Always `application/vnd.in-toto+json`.
    pub payload_type: String,
    /// The statement's bytes, in base64.
    pub payload: String,
    /// One, the daemon's.
    pub signatures: Vec<EnvelopeSignature>,
    /// Digests of the statement's fields, to name what was changed; none in receipts of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<SignedFields>,
}

/// A signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeSignature {
    /// The first 16 digits of SHA-256 of the public key, as the audit log's checkpoints have it.
    pub keyid: String,
    /// Ed25519 over type and payload as DSSE puts them together, in base64.
    pub sig: String,
}

/// Why an envelope is not to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadEnvelope {
    /// The type of its payload is another.
    PayloadType,
    /// It does not have one signature.
    Signatures,
    /// The signature names another key than the one it is to be checked with.
    KeyId,
    /// The payload or the signature is no base64 of the one right spelling.
    Encoding,
    /// The signature does not fit the payload.
    Signature,
    /// The payload is signed and no statement of ours.
    Statement,
    /// The payload is signed and as it was; the digests of its fields are not.
    Fields,
}

impl Envelope {
    /// Signs a statement.
    ///
    /// # Errors
    /// A statement without a JSON form, which no value of the type is.
    pub fn sign(
        statement: &Statement,
        key: &Ed25519KeyPair,
        public: &PublicKey,
    ) -> Result<Self, serde_json::Error> {
        let fields = SignedFields::sign(&serde_json::to_value(statement)?, key);
        let payload = serde_json::to_vec(statement)?;
        let signature = signature_of(key, &authenticated(&payload));
        let signature =
            EnvelopeSignature { keyid: public.short(), sig: STANDARD.encode(signature) };
        Ok(Self {
            payload_type: PAYLOAD_TYPE.to_owned(),
            payload: STANDARD.encode(payload),
            signatures: vec![signature],
            fields: Some(fields),
        })
    }

    /// The statement, if one of these keys vouches for it.
    ///
    /// # Errors
    /// What is wrong first, in the order in which it is looked at.
    pub fn open(&self, keys: &[PublicKey]) -> Result<Statement, BadEnvelope> {
        if self.payload_type != PAYLOAD_TYPE {
            return Err(BadEnvelope::PayloadType);
        }
        let [signature] = self.signatures.as_slice() else { return Err(BadEnvelope::Signatures) };
        let named = |key: &&PublicKey| key.short() == signature.keyid;
        let key = keys.iter().find(named).ok_or(BadEnvelope::KeyId)?;
        let decode = |text| STANDARD.decode(text).map_err(|_| BadEnvelope::Encoding);
        let (payload, bytes) = (decode(&self.payload)?, decode(&signature.sig)?);
        if !key.has_signed(&authenticated(&payload), &bytes) {
            return Err(BadEnvelope::Signature);
        }
        let statement = self.look().filter(is_ours).ok_or(BadEnvelope::Statement)?;
        match self.changes(keys) {
            None if self.fields.is_some() => Err(BadEnvelope::Fields),
            Some(changes) if !changes.is_empty() => Err(BadEnvelope::Fields),
            _ => Ok(statement),
        }
    }

    /// Which fields of the statement are not as they were signed. `None` where nobody vouches for what they were,
    /// or nothing of the statement can be read.
    pub fn changes(&self, keys: &[PublicKey]) -> Option<Vec<FieldChange>> {
        let fields = self.fields.as_ref().filter(|fields| fields.is_whole(keys))?;
        let payload = STANDARD.decode(&self.payload).ok()?;
        Some(fields.differences(&serde_json::from_slice(&payload).ok()?))
    }

    /// The statement whoever vouches for it, to say what is wrong with it.
    pub fn look(&self) -> Option<Statement> {
        serde_json::from_slice(&STANDARD.decode(&self.payload).ok()?).ok()
    }
}

fn is_ours(statement: &Statement) -> bool {
    statement.kind == STATEMENT_TYPE && statement.predicate_type == PREDICATE_TYPE
}

/// The bytes that are signed (DSSE v1, PAE).
fn authenticated(payload: &[u8]) -> Vec<u8> {
    let (kind, length) = (PAYLOAD_TYPE.len(), payload.len());
    let mut bytes = format!("DSSEv1 {kind} {PAYLOAD_TYPE} {length} ").into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

impl fmt::Display for BadEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PayloadType => "its payloadType is not application/vnd.in-toto+json",
            Self::Signatures => "it does not have exactly one signature",
            Self::KeyId => "its keyid names another key",
            Self::Encoding => "its payload or its signature is not base64",
            Self::Signature => "its signature does not fit its payload: one of them was changed",
            Self::Statement => "its payload is no statement about an execution",
            Self::Fields => "the digests of its fields were changed; its payload was not",
        })
    }
}

impl std::error::Error for BadEnvelope {}
