//! The operations on the daemon as a whole.

use super::{JSON, Method, Operation};
use crate::{NDJSON, OPENMETRICS};

pub(super) const EVENTS: Operation = Operation {
    id: "events",
    method: Method::Get,
    path: "/v1/events",
    summary: "How the caller's executions, sessions, questions to a person and what is in force stand, and then every change, as NDJSON of Event, until the caller goes; everybody's, and credentials, for administrators.",
    parameters: &[],
    request: None,
    success: 200,
    media_type: NDJSON,
    response: None,
};

pub(super) const DOCTOR: Operation = Operation {
    id: "doctor",
    method: Method::Get,
    path: "/v1/doctor",
    summary: "What this host can enforce.",
    parameters: &[],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Doctor"),
};

pub(super) const TOP: Operation = Operation {
    id: "top",
    method: Method::Get,
    path: "/v1/top",
    summary: "What runs just now and what it uses; an agent's own, everybody's for administrators.",
    parameters: &[],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Top"),
};

pub(super) const METRICS: Operation = Operation {
    id: "metrics",
    method: Method::Get,
    path: "/metrics",
    summary: "What the daemon counts, as text for Prometheus; administrators only.",
    parameters: &[],
    request: None,
    success: 200,
    media_type: OPENMETRICS,
    response: None,
};

pub(super) const RELOAD: Operation = Operation {
    id: "reload",
    method: Method::Post,
    path: "/v1/reload",
    summary: "Read configuration and policies anew, all or nothing; administrators only.",
    parameters: &[],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Reloaded"),
};

pub(super) const OPENAPI: Operation = Operation {
    id: "openapi",
    method: Method::Get,
    path: "/v1/openapi.json",
    summary: "This document.",
    parameters: &[],
    request: None,
    success: 200,
    media_type: JSON,
    response: None,
};
