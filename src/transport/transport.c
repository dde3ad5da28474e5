/* What all transports share: scratch memory, and calls through the table. */
#include <esclusa/transport.h>

#include <stdlib.h>

bool transport_scratch_init(struct transport_scratch *s, struct error *err)
{
    *s = (struct transport_scratch){
        .plain_size = TP_PLAIN_SIZE,
        .sealed_in_size = TP_SEALED_SIZE,
        .sealed_out_size = TP_HELD_MAX,
    };
    s->plain = malloc(s->plain_size);
    s->sealed_in = malloc(s->sealed_in_size);
    s->sealed_out = malloc(s->sealed_out_size);
    if (s->plain == NULL || s->sealed_in == NULL || s->sealed_out == NULL) {
        transport_scratch_fini(s);
        return error_set(err, "no memory for a worker's buffers");
    }
    return true;
}

void transport_scratch_fini(struct transport_scratch *s)
{
    free(s->plain);
    free(s->sealed_in);
    free(s->sealed_out);
    *s = (struct transport_scratch){0};
}

void transport_destroy(struct transport **t)
{
    if (*t == NULL)
        return;
    (*t)->ops->destroy(*t);
    *t = NULL;
}

int transport_release_fd(struct transport *t)
{
    int fd = t->fd;
    t->fd = -1;
    return fd;
}

bool transport_tls_info(const struct transport *t, struct tls_info *info)
{
    if (t->ssl == NULL)
        return false;
    tls_session_info(t->ssl, info);
    return true;
}

bool transport_tls_told(const struct transport *t, struct tls_told *told)
{
    if (t->ssl == NULL)
        return false;
    tls_session_told(t->ssl, told);
    return true;
}
