/* phase: the closed list of what a session is at. One row gives the enum and the word in the log,
 * the metrics and the admin endpoint. Private to core. */
#ifndef ESCLUSA_CORE_PHASE_H
#define ESCLUSA_CORE_PHASE_H

#define PHASE_LIST(X)                                                                              \
    X(PHASE_ACCEPTED, "accepted")                                                                  \
    X(PHASE_PROXY_HEADER, "proxy_header")                                                          \
    X(PHASE_CONSUMER_HANDSHAKE, "consumer_handshake")                                              \
    X(PHASE_CHOOSE, "choose")                                                                      \
    X(PHASE_RESOLVE, "resolve")                                                                    \
    X(PHASE_CONNECT, "connect")                                                                    \
    X(PHASE_PROXY, "proxy")                                                                        \
    X(PHASE_STARTTLS, "starttls")                                                                  \
    X(PHASE_UPSTREAM_HANDSHAKE, "upstream_handshake")                                              \
    X(PHASE_RELAY, "relay")                                                                        \
    X(PHASE_LINGER, "linger")                                                                      \
    X(PHASE_DEAD, "dead")

enum phase {
#define PHASE_ENUM(name, word) name,
    PHASE_LIST(PHASE_ENUM)
#undef PHASE_ENUM
        PHASE_COUNT
};

const char *phase_word(enum phase phase);

#endif
