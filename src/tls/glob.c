/* Texts against patterns with *. */
#include "glob.h"

static char lower(char c)
{
    /* Not tolower(3): the locale has no say in names. */
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

bool glob_match(const char *glob, size_t glob_length, const char *text, size_t length,
                size_t folded)
{
    size_t g = 0;
    size_t t = 0;
    bool starred = false;
    size_t star = 0;  /* behind the last * */
    size_t taken = 0; /* where what that * stands for ends */
    /* Only the last * ever takes more: what stands before it has matched at the first place where
     * it could, which leaves the most for the rest. So nothing is tried twice. */
    while (t < length) {
        if (g < glob_length && glob[g] == '*') {
            starred = true;
            star = ++g;
            taken = t;
        } else if (g < glob_length &&
                   (t < folded ? lower(glob[g]) == lower(text[t]) : glob[g] == text[t])) {
            g++;
            t++;
        } else if (starred) {
            g = star;
            t = ++taken;
        } else {
            return false;
        }
    }
    while (g < glob_length && glob[g] == '*')
        g++;
    return g == glob_length;
}
