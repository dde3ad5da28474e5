/* Rows of option_table.c, and a part of it alone: what sockets are set to. */

/* clang-format off */
#define NUMBER(member, arg, least, most)                                                           \
    .name = #member, .type = OPTION_NUMBER, SERVICE(member), .argument = (arg), .min = (least),    \
    .max = (most), .default_note = "the kernel's"
#define SECONDS(member, text)                                                                      \
    .name = #member, .type = OPTION_DURATION, SERVICE(member), .argument = "DUR", .min = 1000,     \
    .max = 32767000, .default_text = (text)

    {.heading = "Sockets towards the upstream",
     LIST(source_address, USE_ALWAYS), .argument = "IP", .default_note = "the kernel's",
     .help = "address of this machine to connect from: one of IPv4, one of IPv6; repeatable"},
    {TEXT(source_interface, USE_ALWAYS), .argument = "NAME", .default_note = "by the route",
     .help = "network interface to connect through, SO_BINDTODEVICE"},
    {TEXT(source_ports, USE_ALWAYS), .argument = "FIRST-LAST", .default_note = "the kernel's",
     .help = "ports to connect from, like 40000-49999"},
    {NUMBER(fwmark, "N", 1, INT32_MAX),
     .help = "mark for routing rules and firewalls, SO_MARK; keeps CAP_NET_ADMIN"},
    {NUMBER(dscp, "N", 1, 63), .help = "service class of the packets, RFC 2474"},
    {FLAG(SERVICE, tcp_fast_open), .use = UP, .default_text = "false",
     .help = "send the ClientHello with the SYN where the upstream has given a cookie, RFC 7413"},
    {TEXT(congestion_control, USE_ALWAYS), .argument = "NAME", .default_note = "the kernel's",
     .help = "TCP's congestion control, like bbr"},
    {NUMBER(send_buffer, "BYTES", 4096, 1 << 30), .help = "SO_SNDBUF, which ends its tuning by the kernel"},
    {NUMBER(receive_buffer, "BYTES", 4096, 1 << 30), .help = "SO_RCVBUF, the same"},
    {SECONDS(keepalive_idle, "60s"), .help = "silence after which a connection is probed"},
    {SECONDS(keepalive_interval, "15s"), .help = "between probes"},
    {.name = "keepalive_probes", .type = OPTION_NUMBER, SERVICE(keepalive_probes), .argument = "N",
     .min = 1, .max = 127, .default_text = "4", .help = "so many unanswered, and it is given up"},
    {.heading = "Sockets of consumers",
     NUMBER(listen_dscp, "N", 1, 63), .help = "the same towards consumers"},
    {NUMBER(listen_tcp_fast_open, "N", 1, 65535),
     .help = "connections with data in the SYN that may wait, RFC 7413; net.ipv4.tcp_fastopen must have bit 2"},
    {TEXT(listen_congestion_control, USE_ALWAYS), .argument = "NAME", .default_note = "the kernel's",
     .help = "the same towards consumers"},
    {NUMBER(listen_send_buffer, "BYTES", 4096, 1 << 30), .help = "the same towards consumers"},
    {NUMBER(listen_receive_buffer, "BYTES", 4096, 1 << 30), .help = "the same towards consumers"},
    {SECONDS(listen_keepalive_idle, "60s"), .help = "the same towards consumers"},
    {SECONDS(listen_keepalive_interval, "15s"), .help = "the same towards consumers"},
    {.name = "listen_keepalive_probes", .type = OPTION_NUMBER, SERVICE(listen_keepalive_probes),
     .argument = "N", .min = 1, .max = 127, .default_text = "4",
     .help = "the same towards consumers"},

#undef SECONDS
#undef NUMBER
    /* clang-format on */
