/* Rows of option_table.c, and a part of it alone: which of several upstreams, and which address. */

/* clang-format off */
#define ROW_OF(member, least, most, text)                                                          \
    .name = #member, .type = OPTION_NUMBER, SERVICE(member), .argument = "N", .min = (least),      \
    .max = (most), .default_text = (text)

    {.heading = "Several upstreams",
     CHOICE(balance, USE_ALWAYS, balance_choices), .argument = "WAY", .default_text = "failover",
     .help = "which upstream a consumer gets: the first of --connect that answers (failover), or "
             "round_robin, least_connections, random_two (the less busy of two) or source_hash "
             "(by the consumer's address); the others follow if that one does not answer"},
    {LIST(weights, USE_ALWAYS), .argument = "N", .default_note = "1 each",
     .help = "the share of each upstream, 1 to 100, in the order of --connect; repeatable"},
    {ROW_OF(backups, 0, UPSTREAMS_MAX - 1, "0"),
     .help = "so many upstreams, the last ones, are for when no other is usable"},
    {FLAG(SERVICE, failover_on_verify), .use = UP, .weaker = WEAKER_IF_MORE, .default_text = "false",
     .help = "go on to the next upstream also from one whose certificate does not verify, with an "
             "alarm; false: that ends the session, so that nothing is masked"},
    {CHOICE(race, USE_ALWAYS, race_choices), .argument = "tcp|tls", .default_text = "tcp",
     .help = "of the addresses of one name the first wins that takes the connection (tcp), or whose "
             "handshake is done and verified (tls), RFC 8305"},
    {TIME(SERVICE, race_delay, 10), .default_text = "250ms",
     .help = "an address that is silent for so long is joined by the next one"},
    {ROW_OF(eject_after, 0, 1000000, "3"),
     .help = "connections in a row that an upstream did not answer, after which it is passed over; "
             "0: never"},
    {TIME(SERVICE, eject_time, 10), .default_text = "10s",
     .help = "for how long, the first time; each time in a row twice as long, give or take a fifth"},
    {TIME(SERVICE, eject_max, 10), .default_text = "5m", .help = "but no longer than this"},
    {CHOICE(check, USE_ALWAYS, check_choices), .argument = "off|tcp|tls", .default_text = "off",
     .help = "ask each upstream regularly: by a connection (tcp), or by a whole verified handshake "
             "(tls)"},
    {TIME(SERVICE, check_interval, 100), .default_text = "10s", .help = "between two checks of one"},
    {ROW_OF(check_fall, 1, 1000, "3"),
     .help = "checks in a row that must fail for an upstream to be passed over"},
    {ROW_OF(check_rise, 1, 1000, "2"), .help = "and be good for it to come back"},

#undef ROW_OF
    /* clang-format on */
