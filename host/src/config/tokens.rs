//! `[jwt]`: whose JSON Web Tokens stand for keys.

use anyhow::{Context, bail};
use clap::Args;
use kenning_tenants::{JwksSource, TokenSettings};
use serde::Deserialize;

/// The claims, unless others are named.
const TENANT: &str = "tenant";
const SCOPES: &str = "scope";

/// Flags and variables that begin with `jwt`, and keys of the table `[jwt]` without.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "snake_case")]
pub struct JwtSettings {
    /// The issuer (`iss`) of the JSON Web Tokens (RS256, ES256 or EdDSA) that callers may show
    /// instead of a key
    #[arg(long = "jwt-issuer", env = "KENNING_JWT_ISSUER", value_name = "ISSUER")]
    pub issuer: Option<String>,

    /// Whom tokens must be for (`aud`): one of these, separated by commas
    #[arg(
        long = "jwt-audience",
        env = "KENNING_JWT_AUDIENCE",
        value_name = "AUDIENCE",
        value_delimiter = ','
    )]
    pub audience: Option<Vec<String>>,

    /// The issuer's public keys: the URL or the file of a JSON Web Key Set. They are read again
    /// when they change
    #[arg(long = "jwt-jwks", env = "KENNING_JWT_JWKS", value_name = "URL", hide_env_values = true)]
    pub jwks: Option<String>,

    /// The claim with the name of the token's tenant [default: tenant]
    #[arg(long = "jwt-tenant-claim", env = "KENNING_JWT_TENANT_CLAIM", value_name = "CLAIM")]
    #[serde(alias = "tenant-claim")]
    pub tenant_claim: Option<String>,

    /// The claim with the token's scopes (read, write, admin), as a list or as words separated by
    /// spaces [default: scope]
    #[arg(long = "jwt-scopes-claim", env = "KENNING_JWT_SCOPES_CLAIM", value_name = "CLAIM")]
    #[serde(alias = "scopes-claim")]
    pub scopes_claim: Option<String>,

    /// The claim with what extensions are told of the caller, as of a key's holder: an object of at
    /// most a kilobyte [default: none]
    #[arg(
        long = "jwt-attributes-claim",
        env = "KENNING_JWT_ATTRIBUTES_CLAIM",
        value_name = "CLAIM"
    )]
    #[serde(alias = "attributes-claim")]
    pub attributes_claim: Option<String>,
}

impl JwtSettings {
    /// These, and where they say nothing, `other`.
    fn or(self, other: Self) -> Self {
        Self {
            issuer: self.issuer.or(other.issuer),
            audience: self.audience.or(other.audience),
            jwks: self.jwks.or(other.jwks),
            tenant_claim: self.tenant_claim.or(other.tenant_claim),
            scopes_claim: self.scopes_claim.or(other.scopes_claim),
            attributes_claim: self.attributes_claim.or(other.attributes_claim),
        }
    }
}

/// The settings of tokens; `None` if there are none. An empty value counts as none.
pub(super) fn tokens(
    flags: JwtSettings,
    file: JwtSettings,
) -> anyhow::Result<Option<TokenSettings>> {
    let JwtSettings { issuer, audience, jwks, tenant_claim, scopes_claim, attributes_claim } =
        flags.or(file);
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let named = audience.unwrap_or_default().into_iter().map(|one| one.trim().to_owned());
    let audience: Vec<String> = named.filter(|one| !one.is_empty()).collect();
    let (issuer, jwks) = (given(issuer), given(jwks));
    let claims = [tenant_claim, scopes_claim, attributes_claim].map(given);
    let (issuer, jwks) = match (issuer, jwks, audience.is_empty()) {
        (Some(issuer), Some(jwks), false) => (issuer, jwks),
        (None, None, true) if claims.iter().all(Option::is_none) => return Ok(None),
        _ => bail!(
            "tokens need --jwt-issuer, --jwt-audience and --jwt-jwks, or none of the --jwt \
             settings"
        ),
    };
    let jwks = JwksSource::parse(&jwks).map_err(anyhow::Error::msg).context("--jwt-jwks")?;
    let [tenant, scopes, attributes_claim] = claims;
    let tenant_claim = tenant.unwrap_or_else(|| TENANT.to_owned());
    let scopes_claim = scopes.unwrap_or_else(|| SCOPES.to_owned());
    Ok(Some(TokenSettings { issuer, audience, jwks, tenant_claim, scopes_claim, attributes_claim }))
}

/// What the operator should know of where the keys come from.
pub(super) fn warning(settings: Option<&TokenSettings>) -> Option<String> {
    let jwks = &settings.filter(|settings| settings.jwks.is_exposed())?.jwks;
    Some(format!(
        "the keys of tokens come unencrypted from {jwks}: whoever can change them on the way can \
         be anyone; use https"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> anyhow::Result<Option<TokenSettings>> {
        tokens(JwtSettings::default(), toml::from_str(text)?)
    }

    const ALL: &str = "issuer = \"https://id.example\"\naudience = [\"kb\"]\njwks = \"keys.json\"";

    #[test]
    fn tokens_are_accepted_only_with_issuer_audience_and_keys() {
        assert_eq!(settings("").unwrap(), None);
        let all = settings(ALL).unwrap().unwrap();
        assert_eq!((&*all.tenant_claim, &*all.scopes_claim), ("tenant", "scope"));
        assert_eq!(warning(Some(&all)), None);
        for missing in ["issuer", "audience", "jwks"] {
            let rest: Vec<&str> = ALL.lines().filter(|line| !line.starts_with(missing)).collect();
            let error = settings(&rest.join("\n")).unwrap_err().to_string();
            assert!(error.contains(&format!("--jwt-{missing}")), "{error}");
        }
        assert!(settings("tenant-claim = \"org\"").is_err());
        assert!(settings("algorithm = \"HS256\"").is_err());
    }

    #[test]
    fn flags_win_and_plain_http_is_warned_of() {
        let flags = JwtSettings {
            jwks: Some("http://id.example/keys".into()),
            scopes_claim: Some("roles".into()),
            ..JwtSettings::default()
        };
        let tokens = tokens(flags, toml::from_str(ALL).unwrap()).unwrap().unwrap();
        assert_eq!((&*tokens.issuer, &*tokens.scopes_claim), ("https://id.example", "roles"));
        assert!(warning(Some(&tokens)).unwrap().contains("https"));
    }
}
