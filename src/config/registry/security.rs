//! Keys of access control, plug-ins and TLS.

use super::{Section, later};
use crate::config::key::{Key, Tier};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Authorization and plug-ins",
        tier: Tier::Refused(
            "access control comes with security; until then every client may do everything, so \
ketcd does not pretend otherwise: remove the key",
        ),
        keys: &[
            Key::string(
                "authorizer.class.name",
                "",
                "The class that decides who may do what. Empty: everybody everything.",
            )
            .low(),
            Key::string(
                "super.users",
                "",
                "Principals that may do everything, as User:name separated by semicolons.",
            ),
            Key::boolean("allow.everyone.if.no.acl.found", "false", "Allow access to what no rule names."),
            Key::class(
                "principal.builder.class",
                "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder",
                "The class that turns a connection's credentials into a principal.",
            )
            .per_broker(),
            Key::class("create.topic.policy.class.name", "", "A class that may refuse new topics.")
                .unset()
                .low(),
            Key::class(
                "alter.config.policy.class.name",
                "",
                "A class that may refuse changes of configuration.",
            )
            .unset()
            .low(),
            Key::class("client.quota.callback.class", "", "A class that decides client quotas.")
                .unset()
                .low(),
            Key::string("security.providers", "", "Classes that provide security algorithms.").unset().low(),
        ],
    },
    Section {
        title: "TLS",
        tier: Tier::Refused(
            "TLS comes with security: this version speaks PLAINTEXT only. Remove the key, or put \
a TLS proxy in front. Keys and certificates will be PEM files; JKS and PKCS12 stores \
can be converted with `keytool` and `openssl pkcs12`",
        ),
        keys: &[
            Key::string("ssl.keystore.location", "", "The store with this broker's key and certificate.")
                .unset()
                .per_broker(),
            Key::password("ssl.keystore.key", "This broker's private key, as PEM text.").per_broker(),
            Key::password("ssl.keystore.certificate.chain", "This broker's certificates, as PEM text.")
                .per_broker(),
            Key::string("ssl.truststore.location", "", "The store with the certificates that are trusted.")
                .unset()
                .per_broker(),
            Key::password("ssl.truststore.certificates", "The certificates that are trusted, as PEM text.")
                .per_broker(),
            Key::string("ssl.client.auth", "none", "Whether clients must show a certificate.")
                .one_of(&["required", "requested", "none"])
                .per_broker(),
            Key::class("ssl.engine.factory.class", "", "A class that makes TLS engines.")
                .unset()
                .low()
                .per_broker(),
        ],
    },
    Section {
        title: "TLS",
        tier: later::SECURITY,
        keys: &[
            Key::boolean("ssl.allow.dn.changes", "false", "Let a renewed certificate have another subject.")
                .low(),
            Key::boolean("ssl.allow.san.changes", "false", "Let a renewed certificate have other names.")
                .low(),
            Key::list("ssl.cipher.suites", "", "Cipher suites that are allowed.").per_broker(),
            Key::list("ssl.enabled.protocols", "TLSv1.2,TLSv1.3", "TLS versions that are allowed.")
                .per_broker(),
            Key::string(
                "ssl.endpoint.identification.algorithm",
                "https",
                "How the name of a peer is checked.",
            )
            .low()
            .per_broker(),
            Key::password("ssl.key.password", "Password of the private key.").per_broker(),
            Key::string("ssl.keymanager.algorithm", "SunX509", "Algorithm of the key manager.").per_broker(),
            Key::password("ssl.keystore.password", "Password of the key store.").per_broker(),
            Key::string("ssl.keystore.type", "JKS", "Kind of the key store.").per_broker(),
            Key::string(
                "ssl.principal.mapping.rules",
                "DEFAULT",
                "How the subject of a certificate becomes a principal.",
            )
            .low(),
            Key::string("ssl.protocol", "TLSv1.3", "TLS version to use.").per_broker(),
            Key::string("ssl.provider", "", "The security provider to use.").unset().per_broker(),
            Key::string("ssl.secure.random.implementation", "", "The source of random numbers.")
                .unset()
                .low()
                .per_broker(),
            Key::string("ssl.trustmanager.algorithm", "PKIX", "Algorithm of the trust manager.").per_broker(),
            Key::password("ssl.truststore.password", "Password of the trust store.").per_broker(),
            Key::string("ssl.truststore.type", "JKS", "Kind of the trust store.").per_broker(),
        ],
    },
];
