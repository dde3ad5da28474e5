/* The words that options take, for option_table.c alone. */
/* The words that options of type OPTION_CHOICE take. Private to option_table.c. */
#ifndef ESCLUSA_CONFIG_OPTION_CHOICES_H
#define ESCLUSA_CONFIG_OPTION_CHOICES_H

#include <esclusa/config.h>

static const struct option_choice tls_version_choices[] = {
    {"1.2", TLS_1_2}, {"1.3", TLS_1_3}, {NULL, 0}};

static const struct option_choice starttls_choices[] = {{"off", 0},
                                                        {"postgres", DIALOGUE_POSTGRES},
                                                        {"mysql", DIALOGUE_MYSQL},
                                                        {"smtp", DIALOGUE_SMTP},
                                                        {"imap", DIALOGUE_IMAP},
                                                        {"pop3", DIALOGUE_POP3},
                                                        {"ldap", DIALOGUE_LDAP},
                                                        {"xmpp", DIALOGUE_XMPP},
                                                        {"ftp", DIALOGUE_FTP},
                                                        {NULL, 0}};

static const struct option_choice balance_choices[] = {
    {"failover", BALANCE_FAILOVER},
    {"round_robin", BALANCE_ROUND_ROBIN},
    {"least_connections", BALANCE_LEAST_CONNECTIONS},
    {"random_two", BALANCE_RANDOM_TWO},
    {"source_hash", BALANCE_SOURCE_HASH},
    {NULL, 0}};

static const struct option_choice race_choices[] = {
    {"tcp", RACE_TCP}, {"tls", RACE_TLS}, {NULL, 0}};

static const struct option_choice check_choices[] = {
    {"off", CHECK_OFF}, {"tcp", CHECK_TCP}, {"tls", CHECK_TLS}, {NULL, 0}};

static const struct option_choice half_close_choices[] = {
    {"on", HALF_CLOSE_ON}, {"tls13", HALF_CLOSE_TLS13}, {"off", HALF_CLOSE_OFF}, {NULL, 0}};

static const struct option_choice over_choices[] = {
    {"wait", OVER_LIMIT_WAIT}, {"reset", OVER_LIMIT_RESET}, {NULL, 0}};

static const struct option_choice log_sessions_choices[] = {{"all", LOG_SESSIONS_ALL},
                                                            {"failed", LOG_SESSIONS_FAILED},
                                                            {"none", LOG_SESSIONS_NONE},
                                                            {NULL, 0}};

static const struct option_choice accept_proxy_choices[] = {{"off", ACCEPT_PROXY_OFF},
                                                            {"v1", ACCEPT_PROXY_V1},
                                                            {"v2", ACCEPT_PROXY_V2},
                                                            {"any", ACCEPT_PROXY_ANY},
                                                            {NULL, 0}};

static const struct option_choice send_proxy_choices[] = {
    {"off", SEND_PROXY_OFF}, {"v1", SEND_PROXY_V1}, {"v2", SEND_PROXY_V2}, {NULL, 0}};

static const struct option_choice cut_choices[] = {
    {"reset", CUT_RESET}, {"fin", CUT_FIN}, {NULL, 0}};

static const struct option_choice policy_choices[] = {
    {"report", TLS_POLICY_REPORT}, {"enforce", TLS_POLICY_ENFORCE}, {NULL, 0}};

static const struct option_choice strict_choices[] = {
    {"off", TLS_STRICT_OFF}, {"report", TLS_STRICT_REPORT}, {"on", TLS_STRICT_ON}, {NULL, 0}};

static const struct option_choice ocsp_choices[] = {
    {"off", TLS_OCSP_OFF}, {"prefer", TLS_OCSP_PREFER}, {"require", TLS_OCSP_REQUIRE}, {NULL, 0}};

static const struct option_choice client_choices[] = {{"none", TLS_CLIENT_NONE},
                                                      {"optional", TLS_CLIENT_OPTIONAL},
                                                      {"required", TLS_CLIENT_REQUIRED},
                                                      {NULL, 0}};

static const struct option_choice revoked_choices[] = {
    {"log", REVOKED_LOG}, {"close", REVOKED_CLOSE}, {NULL, 0}};

static const struct option_choice sandbox_choices[] = {{"off", SANDBOX_WORD_OFF},
                                                       {"on", SANDBOX_WORD_ON},
                                                       {"require", SANDBOX_WORD_REQUIRE},
                                                       {NULL, 0}};

static const struct option_choice log_level_choices[] = {{"error", LOG_LEVEL_ERROR},
                                                         {"warn", LOG_LEVEL_WARN},
                                                         {"info", LOG_LEVEL_INFO},
                                                         {"debug", LOG_LEVEL_DEBUG},
                                                         {NULL, 0}};

static const struct option_choice log_format_choices[] = {
    {"text", LOG_FORMAT_TEXT}, {"json", LOG_FORMAT_JSON}, {NULL, 0}};

static const struct option_choice dns_choices[] = {
    {"cares", DNS_WORD_CARES}, {"system", DNS_WORD_SYSTEM}, {NULL, 0}};

#endif
