/* reason: the closed list of why a session ended. One row gives the enum, the word in the log (and
 * later the metric's label) and the row of the table in docs/operations.md. */
#ifndef ESCLUSA_REASON_H
#define ESCLUSA_REASON_H

#include <esclusa/log.h>

/* X(enum name, word, log level, what it means) */
#define REASON_LIST(X)                                                                             \
    X(REASON_DONE, "done", LOG_LEVEL_INFO, "both directions ended cleanly")                        \
    X(REASON_CUT_AFTER_END, "cut_after_end", LOG_LEVEL_INFO,                                       \
      "one side had ended cleanly, the other was then cut without another byte (many servers "     \
      "close so); the first was reset in case it still waited")                                    \
    X(REASON_PROBE, "probe", LOG_LEVEL_DEBUG,                                                      \
      "the consumer connected and left without a byte before the upstream was ready")              \
    X(REASON_CONSUMER_RESET, "consumer_reset", LOG_LEVEL_INFO,                                     \
      "the consumer reset the connection or took no more bytes")                                   \
    X(REASON_CONSUMER_LOST, "consumer_lost", LOG_LEVEL_INFO,                                       \
      "the consumer was not there any more: nothing acknowledged what was sent to it, or "         \
      "answered "                                                                                  \
      "keepalive, or the network said that it cannot be reached; the upstream was reset")          \
    X(REASON_CONSUMER_TRUNCATED, "consumer_truncated", LOG_LEVEL_WARN,                             \
      "the consumer's TLS stream ended without close_notify; the upstream was reset")              \
    X(REASON_PROXY_HEADER_BAD, "proxy_header_bad", LOG_LEVEL_WARN,                                 \
      "what came first was not the PROXY header that `accept_proxy` demands; it was reset")        \
    X(REASON_PROXY_HEADER_TIMEOUT, "proxy_header_timeout", LOG_LEVEL_WARN,                         \
      "the PROXY header did not come within `accept_proxy_timeout`")                               \
    X(REASON_CONSUMER_HANDSHAKE_FAILED, "consumer_handshake_failed", LOG_LEVEL_WARN,               \
      "the consumer's TLS handshake failed")                                                       \
    X(REASON_CONSUMER_HANDSHAKE_TIMEOUT, "consumer_handshake_timeout", LOG_LEVEL_WARN,             \
      "the consumer did not finish its TLS handshake in time")                                     \
    X(REASON_CONSUMER_DENIED, "consumer_denied", LOG_LEVEL_WARN,                                   \
      "the consumer's address is not in `allow_from`, or in `deny_from`, or its user is not in "   \
      "`allow_uid` or `allow_gid`, or it is no proxy of `proxy_from`; it was reset at once")       \
    X(REASON_OVER_LIMIT, "over_limit", LOG_LEVEL_WARN,                                             \
      "one connection more than a limit allows (the event `connection_limit` says which); it was " \
      "reset at once")                                                                             \
    X(REASON_CONSUMER_VERIFY_FAILED, "consumer_verify_failed", LOG_LEVEL_WARN,                     \
      "the consumer's certificate was refused, or it sent none")                                   \
    X(REASON_CONSUMER_REVOKED, "consumer_revoked", LOG_LEVEL_WARN,                                 \
      "the consumer's certificate is revoked, or a missing or expired revocation list "            \
      "leaves that unknown")                                                                       \
    X(REASON_RESOLVE_FAILED, "resolve_failed", LOG_LEVEL_ERROR,                                    \
      "the upstream's name could not be resolved")                                                 \
    X(REASON_RESOLVE_TIMEOUT, "resolve_timeout", LOG_LEVEL_ERROR,                                  \
      "resolving the upstream's name took too long")                                               \
    X(REASON_UPSTREAM_FORBIDDEN, "upstream_forbidden", LOG_LEVEL_ERROR,                            \
      "the upstream's addresses are among those that `forbid_private_upstreams` refuses; "         \
      "none of them was connected to")                                                             \
    X(REASON_CONNECT_FAILED, "connect_failed", LOG_LEVEL_ERROR,                                    \
      "no address of the upstream took the connection")                                            \
    X(REASON_CONNECT_TIMEOUT, "connect_timeout", LOG_LEVEL_ERROR,                                  \
      "no address of the upstream answered in time")                                               \
    X(REASON_PROXY_FAILED, "proxy_failed", LOG_LEVEL_ERROR,                                        \
      "the proxy did not answer as its protocol has it, or TLS with it failed")                    \
    X(REASON_PROXY_VERIFY_FAILED, "proxy_verify_failed", LOG_LEVEL_ERROR,                          \
      "the proxy's certificate was refused; no byte was sent to it")                               \
    X(REASON_PROXY_DENIED, "proxy_denied", LOG_LEVEL_ERROR,                                        \
      "the proxy refused: its credentials, or its rules")                                          \
    X(REASON_PROXY_UNREACHABLE, "proxy_unreachable", LOG_LEVEL_ERROR,                              \
      "the proxy could not get through to the upstream")                                           \
    X(REASON_PROXY_TIMEOUT, "proxy_timeout", LOG_LEVEL_ERROR, "the proxy did not answer in time")  \
    X(REASON_STARTTLS_REFUSED, "starttls_refused", LOG_LEVEL_ERROR,                                \
      "the upstream offers no TLS in the protocol of `starttls`, or refused to begin it")          \
    X(REASON_STARTTLS_FAILED, "starttls_failed", LOG_LEVEL_ERROR,                                  \
      "the upstream did not answer as the protocol of `starttls` has it")                          \
    X(REASON_STARTTLS_INJECTED, "starttls_injected", LOG_LEVEL_ERROR,                              \
      "plain bytes stood where TLS should begin, or before they were asked for: "                  \
      "somebody may be putting words in")                                                          \
    X(REASON_STARTTLS_TIMEOUT, "starttls_timeout", LOG_LEVEL_ERROR,                                \
      "the upstream did not answer in the protocol of `starttls` in time")                         \
    X(REASON_CONSUMER_PROTOCOL_ERROR, "consumer_protocol_error", LOG_LEVEL_WARN,                   \
      "what the consumer said first is not of the protocol of `starttls`, or it "                  \
      "wants TLS itself")                                                                          \
    X(REASON_UPSTREAM_HANDSHAKE_FAILED, "upstream_handshake_failed", LOG_LEVEL_ERROR,              \
      "the TLS handshake with the upstream failed")                                                \
    X(REASON_UPSTREAM_HANDSHAKE_TIMEOUT, "upstream_handshake_timeout", LOG_LEVEL_ERROR,            \
      "the upstream did not finish the TLS handshake in time")                                     \
    X(REASON_UPSTREAM_VERIFY_FAILED, "upstream_verify_failed", LOG_LEVEL_ERROR,                    \
      "the upstream's certificate was refused; no byte was sent to it")                            \
    X(REASON_UPSTREAM_REVOKED, "upstream_revoked", LOG_LEVEL_ERROR,                                \
      "the upstream's certificate is revoked, or a missing or expired revocation list or a bad "   \
      "OCSP response leaves that unknown; no byte was sent to it")                                 \
    X(REASON_UPSTREAM_REJECTED_CLIENT_CERT, "upstream_rejected_client_cert", LOG_LEVEL_ERROR,      \
      "the upstream refused our client certificate, or wants one")                                 \
    X(REASON_UPSTREAM_RESET, "upstream_reset", LOG_LEVEL_WARN,                                     \
      "the upstream reset the connection; the consumer was reset after all received bytes")        \
    X(REASON_UPSTREAM_LOST, "upstream_lost", LOG_LEVEL_WARN,                                       \
      "the upstream was not there any more: nothing acknowledged what was sent to it, or "         \
      "answered "                                                                                  \
      "keepalive, or the network said that it cannot be reached; the consumer was reset after "    \
      "all "                                                                                       \
      "received bytes")                                                                            \
    X(REASON_UPSTREAM_TRUNCATED, "upstream_truncated", LOG_LEVEL_WARN,                             \
      "the upstream's TLS stream ended without close_notify; the consumer was reset after all "    \
      "received bytes")                                                                            \
    X(REASON_UPSTREAM_TLS_ERROR, "upstream_tls_error", LOG_LEVEL_WARN,                             \
      "the upstream sent a fatal alert or broken TLS in mid-session")                              \
    X(REASON_CONSUMER_TLS_ERROR, "consumer_tls_error", LOG_LEVEL_WARN,                             \
      "the consumer sent a fatal alert or broken TLS in mid-session")                              \
    X(REASON_UPSTREAM_DISTRUSTED, "upstream_distrusted", LOG_LEVEL_WARN,                           \
      "a reload's trust anchors, revocation lists, pins or names refuse the upstream of "          \
      "this live session, and `on_revoked` is `close`; both sides were reset")                     \
    X(REASON_IDLE_TIMEOUT, "idle_timeout", LOG_LEVEL_INFO,                                         \
      "no byte moved either way for the idle timeout")                                             \
    X(REASON_HALF_CLOSED_TIMEOUT, "half_closed_timeout", LOG_LEVEL_INFO,                           \
      "one direction had ended and no byte moved the other way for the half-closed timeout")       \
    X(REASON_LIFETIME, "lifetime", LOG_LEVEL_INFO, "the session had relayed for `max_lifetime`")   \
    X(REASON_SPIN_GUARD, "spin_guard", LOG_LEVEL_ERROR,                                            \
      "the session was woken again and again without getting anywhere: a fault of the gateway, "   \
      "please report it")                                                                          \
    X(REASON_DRAIN_DEADLINE, "drain_deadline", LOG_LEVEL_WARN,                                     \
      "the gateway was stopping and the session did not end within the drain timeout")             \
    X(REASON_SHUTDOWN, "shutdown", LOG_LEVEL_WARN, "the gateway was told twice to stop")           \
    X(REASON_NO_MEMORY, "no_memory", LOG_LEVEL_ERROR,                                              \
      "the gateway ran out of memory or descriptors for this session")

enum reason {
    REASON_NONE,
#define REASON_ENUM(name, word, level, meaning) name,
    REASON_LIST(REASON_ENUM)
#undef REASON_ENUM
        REASON_COUNT
};

const char *reason_word(enum reason reason);
enum log_level reason_level(enum reason reason);
const char *reason_meaning(enum reason reason);

#endif
