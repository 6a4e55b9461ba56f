//! Certificate authorities that devices may be signed by, and the proof of possession (security §8.1, rest §23.3).

use auth::{AuthorityCertificate, InvalidCertificate};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::Response;
use model::{HubSettings, RegisteredCertificate};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Section, change, current, draw, list_of};
use crate::https::{
    body::{self, Body},
    error::ApiError,
    if_match,
    route::Call,
};

/// Bytes of a verification code; written in hexadecimal.
const CODE_BYTES: usize = 20;

#[derive(Deserialize)]
struct CertificateInput {
    properties: PropertiesInput,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PropertiesInput {
    certificate: String,
    /// The owner's word instead of a proof. Missing: as it was, if the certificate is the same.
    is_verified: Option<bool>,
}

#[derive(Deserialize)]
struct ProofInput {
    certificate: String,
}

/// `GET /ironhub/v1/certificates`.
pub(super) async fn list(call: Call<'_>) -> Result<Response<Body>, ApiError> {
    Ok(list_of(current(&call.context.front).await?.certificates.iter().map(json_of).collect()))
}

/// `GET /ironhub/v1/certificates/{name}`.
pub(super) async fn get(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    answer(&current(&call.context.front).await?, name, false)
}

/// `PUT /ironhub/v1/certificates/{name}`: registers an authority, or replaces it.
pub(super) async fn put(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    let front = &call.context.front;
    let input: CertificateInput = body::read_json(front, call.body, front.config.https.body_bytes_max).await?;
    let certificate = AuthorityCertificate::parse(&input.properties.certificate).map_err(refused)?;
    if certificate.expires < front.now() {
        return Err(refused(InvalidCertificate::Expired));
    }
    let der = Bytes::from(certificate.der);
    let (settings, is_new) = change(front, Section::Certificates, |settings| {
        let before = settings.certificate(name);
        if_match::check(&call.parts.headers, before.map(|before| before.etag))?;
        let is_new = before.is_none();
        let same = before.filter(|before| before.der == der);
        let is_verified = input.properties.is_verified.unwrap_or_else(|| same.is_some_and(|same| same.is_verified));
        let registered = RegisteredCertificate {
            name: before.map_or(name, |before| &before.name).to_owned(),
            der: der.clone(),
            is_verified,
            verification_code: same.and_then(|same| same.verification_code.clone()).filter(|_| !is_verified),
            etag: before.map(|before| before.etag).unwrap_or_default(),
            created: before.map_or(front.now(), |before| before.created),
            updated: before.map_or(front.now(), |before| before.updated),
        };
        match settings.certificates.iter_mut().find(|it| it.name.eq_ignore_ascii_case(name)) {
            Some(existing) => *existing = registered,
            None => settings.certificates.push(registered),
        }
        Ok(is_new)
    })
    .await?;
    answer(&settings, name, is_new)
}

/// `DELETE /ironhub/v1/certificates/{name}`; `If-Match` is required. Devices that it vouched for are disconnected.
pub(super) async fn delete(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    change(&call.context.front, Section::Certificates, |settings| {
        if_match::require(&call.parts.headers, find(settings, name)?.etag)?;
        settings.certificates.retain(|certificate| !certificate.name.eq_ignore_ascii_case(name));
        Ok(())
    })
    .await?;
    Ok(body::no_content())
}

/// `POST /ironhub/v1/certificates/{name}/generate-verification-code`; `If-Match` is required. The code before is void.
pub(super) async fn generate_code(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    let code: String = draw::<CODE_BYTES>()?.iter().map(|byte| format!("{byte:02X}")).collect();
    let (settings, ()) = change(&call.context.front, Section::Certificates, |settings| {
        let certificate = find_to_change(settings, name)?;
        if_match::require(&call.parts.headers, certificate.etag)?;
        if certificate.is_verified {
            return Err(ApiError::argument("the certificate is verified already"));
        }
        certificate.verification_code = Some(code.clone());
        Ok(())
    })
    .await?;
    let certificate = find(&settings, name)?;
    let mut json = json_of(certificate);
    json["properties"]["verificationCode"] = code.into();
    Ok(body::versioned(&json, certificate.etag, false))
}

/// `POST /ironhub/v1/certificates/{name}/verify`; `If-Match` is required. The code is used up.
pub(super) async fn verify(call: Call<'_>, name: &str) -> Result<Response<Body>, ApiError> {
    let front = &call.context.front;
    let proof: ProofInput = body::read_json(front, call.body, front.config.https.body_bytes_max).await?;
    let (settings, ()) = change(front, Section::Certificates, |settings| {
        let certificate = find_to_change(settings, name)?;
        if_match::require(&call.parts.headers, certificate.etag)?;
        let code = certificate.verification_code.as_deref();
        let code = code.ok_or_else(|| ApiError::argument("no verification code was generated for the certificate"))?;
        let authority = AuthorityCertificate::of_der(&certificate.der).map_err(refused)?;
        authority.verify_possession(&proof.certificate, code, front.now()).map_err(refused)?;
        (certificate.is_verified, certificate.verification_code) = (true, None);
        Ok(())
    })
    .await?;
    answer(&settings, name, false)
}

fn find<'a>(settings: &'a HubSettings, name: &str) -> Result<&'a RegisteredCertificate, ApiError> {
    settings.certificate(name).ok_or_else(|| ApiError::certificate_not_found(name))
}

fn find_to_change<'a>(settings: &'a mut HubSettings, name: &str) -> Result<&'a mut RegisteredCertificate, ApiError> {
    let mut certificates = settings.certificates.iter_mut();
    let found = certificates.find(|certificate| certificate.name.eq_ignore_ascii_case(name));
    found.ok_or_else(|| ApiError::certificate_not_found(name))
}

fn answer(settings: &HubSettings, name: &str, is_new: bool) -> Result<Response<Body>, ApiError> {
    let certificate = find(settings, name)?;
    Ok(body::versioned(&json_of(certificate), certificate.etag, is_new))
}

fn json_of(certificate: &RegisteredCertificate) -> Value {
    let described = AuthorityCertificate::of_der(&certificate.der).ok();
    json!({
        "name": certificate.name,
        "etag": certificate.etag.to_string(),
        "properties": {
            "subject": described.as_ref().map(|it| it.subject.as_str()),
            "expiry": described.as_ref().map(|it| it.expires.to_rfc1123()),
            "thumbprint": described.as_ref().map(|it| it.thumbprint.as_str()),
            "isVerified": certificate.is_verified,
            "created": certificate.created.to_rfc1123(),
            "updated": certificate.updated.to_rfc1123(),
            "certificate": BASE64_STANDARD.encode(&certificate.der),
        },
    })
}

fn refused(error: InvalidCertificate) -> ApiError {
    ApiError::argument(format!("the certificate is refused: {error}"))
}
