/* Numbers of the PROXY protocol's version 2 that both directions need: section 2.2. Private to
 * src/net. */
#ifndef ESCLUSA_NET_PROXY_INTERNAL_H
#define ESCLUSA_NET_PROXY_INTERNAL_H

#include <esclusa/proxy_header.h>

#define PROXY_SIGNATURE        "\r\n\r\n\0\r\nQUIT\n"
#define PROXY_SIGNATURE_LENGTH 12
#define PROXY_FIXED            16 /* signature, command, family, length */
#define PROXY_TLV_HEAD         3

#define PROXY_VERSION_2 0x20
#define PROXY_LOCAL     0x0
#define PROXY_PROXY     0x1

#define PROXY_UNSPEC   0x0
#define PROXY_INET     0x1
#define PROXY_INET6    0x2
#define PROXY_UNIX     0x3
#define PROXY_STREAM   0x1
#define PROXY_DATAGRAM 0x2

#define PROXY_INET_BYTES  12
#define PROXY_INET6_BYTES 36
#define PROXY_UNIX_PATH   108
#define PROXY_UNIX_BYTES  216

#define PROXY_TYPE_ALPN      0x01
#define PROXY_TYPE_AUTHORITY 0x02
#define PROXY_TYPE_CRC32C    0x03
#define PROXY_TYPE_UNIQUE_ID 0x05
#define PROXY_TYPE_SSL       0x20
#define PROXY_SSL_VERSION    0x21
#define PROXY_SSL_CN         0x22
#define PROXY_SSL_CIPHER     0x23
#define PROXY_SSL_SIG_ALG    0x24
#define PROXY_SSL_KEY_ALG    0x25

#define PROXY_CLIENT_SSL       0x01
#define PROXY_CLIENT_CERT_CONN 0x02
#define PROXY_CLIENT_CERT_SESS 0x04

#endif
