//! A recorded call that has ended, and keeping it.

use std::sync::Arc;

use chrono::{SecondsFormat, Utc};
use kenning_storage::TenantId;

use crate::component::compiler::digest;
use crate::guest::{Component, Guest};
use crate::recording::{CallEnd, Noted, Recording};
use crate::request_context::RequestContext;
use crate::services::Services;

/// What was noted of one guest's part of a call, and what it used.
pub(crate) struct RecordedCall {
    pub(crate) noted: Noted,
    pub(crate) guest: Arc<Guest>,
    pub(crate) operation: &'static str,
    pub(crate) fuel_limit: u64,
    pub(crate) fuel_used: u64,
    pub(crate) guest_fuel: u64,
}

impl RecordedCall {
    /// Keeps it, unless nothing of this tenant's requests is to be kept.
    pub(crate) fn keep(
        self,
        services: &Services,
        tenant: &TenantId,
        request: &RequestContext,
        ended: CallEnd,
        stack: Vec<String>,
    ) {
        // Nobody could ask for it without a request's id.
        let Some(request_id) = &request.id else { return };
        if services.tenants.recorded_requests(tenant) == Some(0) {
            return;
        }
        let Self { noted, guest, operation, fuel_limit, fuel_used, guest_fuel } = self;
        let about = Recording {
            version: Recording::VERSION.to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            request_id: request_id.to_string(),
            time: Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true),
            tenant: tenant.to_string(),
            component: guest.component.name().to_owned(),
            is_logic: guest.component == Component::Logic,
            generation: guest.reference.number,
            digest: guest.reference.digest.to_string(),
            operation: operation.to_owned(),
            fuel_limit,
            fuel_used,
            guest_fuel,
            ended: ended.map(|error| noted.clean(&error)),
            stack: stack.iter().map(|frame| noted.clean(frame)).collect(),
            settings_digest: guest.settings.as_ref().map(|text| digest(text.as_bytes())),
            limits: services.limits.clone(),
            ..Recording::default()
        };
        services.recordings.keep(noted.into_recording(about));
    }
}
