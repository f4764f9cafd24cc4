//! Keys of SASL.

use super::{Section, later};
use crate::config::key::{Check, Key, Tier};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "SASL",
        tier: Tier::Refused(
            "SASL comes with security: this version speaks PLAINTEXT only. Remove the key and use \
PLAINTEXT listeners",
        ),
        keys: &[
            Key::password("sasl.jaas.config", "Login modules and users of a mechanism.").per_broker(),
            Key::class("sasl.server.callback.handler.class", "", "A class that checks credentials.").unset(),
            Key::long(
                "connections.max.reauth.ms",
                "0",
                "How long a client may go on before it must authenticate again.",
            ),
            Key::password("delegation.token.secret.key", "The secret that delegation tokens are made with."),
        ],
    },
    Section {
        title: "SASL",
        tier: later::SECURITY,
        keys: &[
            Key::list("sasl.enabled.mechanisms", "GSSAPI", "Mechanisms that clients may use.").per_broker(),
            Key::string("sasl.mechanism.inter.broker.protocol", "GSSAPI", "Mechanism among brokers.")
                .per_broker(),
            Key::string("sasl.mechanism.controller.protocol", "GSSAPI", "Mechanism towards controllers.")
                .high(),
            Key::class("sasl.client.callback.handler.class", "", "A class that gives credentials.").unset(),
            Key::class("sasl.login.callback.handler.class", "", "A class that handles a login.").unset(),
            Key::class("sasl.login.class", "", "A class that does a login.").unset(),
            Key::int("sasl.login.connect.timeout.ms", "", "Connection timeout of a login.").unset().low(),
            Key::int("sasl.login.read.timeout.ms", "", "Read timeout of a login.").unset().low(),
            Key::short(
                "sasl.login.refresh.buffer.seconds",
                "300",
                "How long before its end a credential is renewed.",
            )
            .per_broker(),
            Key::short(
                "sasl.login.refresh.min.period.seconds",
                "60",
                "Least time between two renewals of a credential.",
            )
            .per_broker(),
            Key::double(
                "sasl.login.refresh.window.factor",
                "0.8",
                "Share of a credential's life after which it is renewed.",
            )
            .per_broker(),
            Key::double("sasl.login.refresh.window.jitter", "0.05", "Random share added to that.")
                .per_broker(),
            Key::long("sasl.login.retry.backoff.ms", "100", "Pause between two tries of a login.").low(),
            Key::long("sasl.login.retry.backoff.max.ms", "10000", "Upper end of that pause.").low(),
            Key::int("sasl.server.max.receive.size", "524288", "Largest message during authentication."),
            Key::int(
                "connection.failed.authentication.delay.ms",
                "100",
                "Delay of the answer to a failed authentication.",
            )
            .at_least(0)
            .low(),
            Key::string("sasl.kerberos.service.name", "", "Kerberos principal name of the brokers.")
                .unset()
                .per_broker(),
            Key::string("sasl.kerberos.kinit.cmd", "/usr/bin/kinit", "Path of kinit.").per_broker(),
            Key::long(
                "sasl.kerberos.min.time.before.relogin",
                "60000",
                "Least time between two Kerberos logins.",
            )
            .per_broker(),
            Key::list(
                "sasl.kerberos.principal.to.local.rules",
                "DEFAULT",
                "How a Kerberos principal becomes a short name.",
            )
            .per_broker(),
            Key::double(
                "sasl.kerberos.ticket.renew.jitter",
                "0.05",
                "Random share of the renewal time of a ticket.",
            )
            .per_broker(),
            Key::double(
                "sasl.kerberos.ticket.renew.window.factor",
                "0.8",
                "Share of a ticket's life after which it is renewed.",
            )
            .per_broker(),
            Key::long(
                "delegation.token.expiry.check.interval.ms",
                "3600000",
                "Time between two looks for tokens that ended.",
            )
            .at_least(1)
            .low(),
            Key::long("delegation.token.expiry.time.ms", "86400000", "Life of a token between renewals.")
                .at_least(1),
            Key::long("delegation.token.max.lifetime.ms", "604800000", "Longest life of a token.")
                .at_least(1),
        ],
    },
    Section {
        title: "OAuth",
        tier: later::SECURITY,
        keys: &[
            Key::string(
                "sasl.oauthbearer.assertion.algorithm",
                "RS256",
                "Algorithm that signs an assertion.",
            )
            .check(Check::OneOfAnyCase(&["ES256", "RS256"])),
            Key::string("sasl.oauthbearer.assertion.claim.aud", "", "Audience of an assertion.").unset(),
            Key::int("sasl.oauthbearer.assertion.claim.exp.seconds", "300", "Life of an assertion.")
                .between(0, 86400)
                .low(),
            Key::string("sasl.oauthbearer.assertion.claim.iss", "", "Issuer of an assertion.").unset(),
            Key::boolean("sasl.oauthbearer.assertion.claim.jti.include", "false", "Give an assertion an id."),
            Key::int(
                "sasl.oauthbearer.assertion.claim.nbf.seconds",
                "60",
                "How far the start of an assertion lies back.",
            )
            .between(0, 3600)
            .low(),
            Key::string("sasl.oauthbearer.assertion.claim.sub", "", "Subject of an assertion.").unset(),
            Key::string("sasl.oauthbearer.assertion.file", "", "A file with a ready assertion.").unset(),
            Key::string(
                "sasl.oauthbearer.assertion.private.key.file",
                "",
                "The file with the key that signs an assertion.",
            )
            .unset(),
            Key::password("sasl.oauthbearer.assertion.private.key.passphrase", "Password of that file."),
            Key::string(
                "sasl.oauthbearer.assertion.template.file",
                "",
                "A file with further claims of an assertion.",
            )
            .unset(),
            Key::string(
                "sasl.oauthbearer.client.credentials.client.id",
                "",
                "Client id for the token endpoint.",
            )
            .unset(),
            Key::password(
                "sasl.oauthbearer.client.credentials.client.secret",
                "Client secret for the token endpoint.",
            ),
            Key::int("sasl.oauthbearer.clock.skew.seconds", "30", "Difference of clocks that is forgiven.")
                .low(),
            Key::list("sasl.oauthbearer.expected.audience", "", "Audiences that a token may be for.").high(),
            Key::string("sasl.oauthbearer.expected.issuer", "", "Issuer that a token must be from.")
                .unset()
                .high(),
            Key::long(
                "sasl.oauthbearer.jwks.endpoint.refresh.ms",
                "3600000",
                "Time between two loads of the issuer's keys.",
            )
            .low(),
            Key::long(
                "sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms",
                "10000",
                "Upper end of the pause between two tries.",
            )
            .low(),
            Key::long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms", "100", "Pause between two tries.")
                .low(),
            Key::string("sasl.oauthbearer.jwks.endpoint.url", "", "Where the issuer's keys are.").unset(),
            Key::class(
                "sasl.oauthbearer.jwt.retriever.class",
                "org.apache.kafka.common.security.oauthbearer.DefaultJwtRetriever",
                "The class that fetches tokens.",
            ),
            Key::class(
                "sasl.oauthbearer.jwt.validator.class",
                "org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator",
                "The class that checks tokens.",
            ),
            Key::string("sasl.oauthbearer.scope", "", "Scope to ask a token for.").unset(),
            Key::string("sasl.oauthbearer.scope.claim.name", "scope", "Name of the claim with the scope.")
                .low(),
            Key::string("sasl.oauthbearer.sub.claim.name", "sub", "Name of the claim with the subject.")
                .low(),
            Key::string("sasl.oauthbearer.token.endpoint.url", "", "Where tokens are fetched.").unset(),
        ],
    },
];
