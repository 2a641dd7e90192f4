#include "session.h"

/* Whether feature number i of a text is kept in this step. */
INLINE int is_kept(uint64_t key, int64_t i, uint64_t least)
{
    return !least || random_bits(key, (uint64_t)i) >> 40 >= least;
}

INLINE uint64_t least_kept(const session *s)
{
    return (uint64_t)((double)s->training->token_dropout * 0x1p24);
}

/* Copy a text's features without those that token dropout drops; returns how many of its words remain. A
   context branch sees all words of its excerpt, which is drawn here. */
static int64_t keep_features(session *s, int64_t b)
{
    int64_t text = text_number(s, b), begin = s->texts.offsets[text];
    int64_t n_all = s->texts.offsets[text + 1] - begin, n_ordered = s->texts.n_ordered[text];
    const int32_t *ids = s->texts.ids + begin;
    int32_t *kept = s->tokens + s->token_start[b];
    uint64_t least = least_kept(s), key = random_bits(s->key, (uint64_t)b);
    int64_t n_kept = 0, n_words = n_ordered;
    if (!least) {
        memcpy(kept, ids, (size_t)n_all * sizeof *kept);
        n_kept = n_all;
    } else {
        for (int64_t i = 0; i < n_ordered; i++) {
            kept[n_kept] = ids[i];
            n_kept += is_kept(key, i, least);
        }
        n_words = n_kept;
        for (int64_t i = n_ordered; i < n_all; i++) {
            kept[n_kept] = ids[i];
            n_kept += is_kept(key, i, least);
        }
    }
    s->n_tokens[b] = n_kept;
    s->first_word[b] = 0;
    s->n_words[b] = n_words;
    if (s->shape.context_width) {
        int64_t n_seen = s->n_words[b] = n_words_seen(s, text);
        if (n_seen < n_ordered)
            s->first_word[b] = (int64_t)(random_bits(~key, 0) % (uint64_t)(n_ordered - n_seen + 1));
    }
    return n_words;
}

/* Words of a text that have positions: all of the excerpt for a context branch, else those that are kept. */
INLINE const int32_t *words_of(const session *s, int64_t b)
{
    return s->shape.context_width ? s->texts.ids + s->texts.offsets[text_number(s, b)] + s->first_word[b]
                                  : s->tokens + s->token_start[b];
}

/* The words of text b outside the excerpt of a context branch; without such a branch there are none. */
#define EACH_OTHER_WORD(i, b)                                                                         \
    int64_t i = s->first_word[b] ? 0 : s->n_words[b], begin = s->first_word[b],                       \
            end = s->shape.context_width ? s->texts.n_ordered[text_number(s, b)] : 0;                 \
    i < end;                                                                                          \
    i = i + 1 == begin ? begin + s->n_words[b] : i + 1

void gather_features(session *s, int64_t part)
{
    int64_t first, last;
    texts_of_part(s, part, &first, &last);
    int64_t(*counts)[PARTS] = s->counts[part], *n_kept_words = s->n_kept_words;
    uint64_t least = s->shape.context_width ? least_kept(s) : 0; /* else words holds kept ones alone */
    memset(counts, 0, sizeof s->counts[part]);
    for (int64_t b = first; b < last; b++) {
        uint64_t key = random_bits(s->key, (uint64_t)b);
        n_kept_words[b] = keep_features(s, b);
        const int32_t *tokens = s->tokens + s->token_start[b], *words = words_of(s, b);
        for (int64_t i = 0; i < s->n_words[b]; i++)
            counts[1][OWNER(words[i])]++;
        for (EACH_OTHER_WORD(i, b))
            counts[0][OWNER(words[i - begin])] += is_kept(key, i, least);
        for (int64_t i = n_kept_words[b]; i < s->n_tokens[b]; i++)
            counts[0][OWNER(tokens[i])]++;
    }
    occurrence *next[2][PARTS], *at = s->occurrences + (first < last ? s->token_start[first] : 0);
    for (int owner = 0; owner < PARTS; owner++)
        for (int words = 1; words >= 0; at += counts[words--][owner])
            next[words][owner] = at;
    int32_t no_text = (int32_t)s->batch_size;
    for (int64_t b = first; b < last; b++) {
        const int32_t *tokens = s->tokens + s->token_start[b], *words = words_of(s, b);
        uint64_t key = random_bits(s->key, (uint64_t)b);
        for (int64_t i = 0; i < s->n_words[b]; i++) {
            int32_t text = is_kept(key, s->first_word[b] + i, least) ? (int32_t)b : no_text;
            *next[1][OWNER(words[i])]++ = (occurrence){words[i], text, (int32_t)(s->word_start[b] + i), 0};
        }
        for (EACH_OTHER_WORD(i, b))
            if (is_kept(key, i, least))
                *next[0][OWNER(words[i - begin])]++ = (occurrence){words[i - begin], (int32_t)b, -1, 0};
        for (int64_t i = n_kept_words[b]; i < s->n_tokens[b]; i++)
            *next[0][OWNER(tokens[i])]++ = (occurrence){tokens[i], (int32_t)b, -1, 0};
    }
}

/* The occurrences, of words or of n-grams, that a part gathered for an owner. */
static occurrence *occurrences_of(const session *s, int64_t part, int64_t owner, int words)
{
    int64_t first, last;
    texts_of_part(s, part, &first, &last);
    occurrence *at = s->occurrences + (first < last ? s->token_start[first] : 0);
    for (int64_t i = 0; i < owner; i++)
        at += s->counts[part][0][i] + s->counts[part][1][i];
    return words ? at : at + s->counts[part][1][owner];
}

void find_distinct_rows(session *s, int64_t part)
{
    owned_rows *own = &s->owned[part];
    int64_t base = 0;
    for (int64_t owner = 0; owner < part; owner++)
        for (int64_t i = 0; i < PARTS; i++)
            base += s->counts[i][0][owner] + s->counts[i][1][owner];
    own->base = base;
    own->rows = s->pool.rows + base;
    own->starts = s->pool.starts + base + part; /* each part has one start more than slots */
    own->texts = s->pool.texts + base;
    own->positions = s->pool.positions + base;
    int32_t n_slots = 0, *slots = s->state.slots;
    for (int words = 1; words >= 0; words--) {
        for (int64_t i = 0; i < PARTS; i++) {
            occurrence *at = occurrences_of(s, i, part, words), *end = at + s->counts[i][words][part];
            for (; at < end; at++) {
                if (end - at > AHEAD)
                    PREFETCH(slots + at[AHEAD].row, 1);
                int32_t slot = slots[at->row];
                if (slot < 0) {
                    slot = slots[at->row] = n_slots;
                    own->rows[n_slots] = at->row;
                    own->starts[n_slots++] = 0;
                }
                own->starts[slot]++;
                at->slot = slot;
                if (words)
                    s->word_slots[at->position] = (int32_t)base + slot;
            }
        }
        if (words)
            own->n_word_slots = n_slots;
    }
    own->n_slots = n_slots;
    int64_t n_entries = 0;
    for (int32_t slot = 0; slot < n_slots; slot++) { /* counts become starts; slots are reset to -1 */
        int64_t count = own->starts[slot];
        own->starts[slot] = n_entries;
        n_entries += count;
        slots[own->rows[slot]] = -1;
    }
    for (int words = 1; words >= 0; words--)
        for (int64_t i = 0; i < PARTS; i++) {
            occurrence *at = occurrences_of(s, i, part, words), *end = at + s->counts[i][words][part];
            for (; at < end; at++) {
                int64_t entry = own->starts[at->slot]++;
                own->texts[entry] = at->text;
                own->positions[entry] = at->position;
            }
        }
    memmove(own->starts + 1, own->starts, (size_t)n_slots * sizeof *own->starts);
    own->starts[0] = 0; /* because filling moved each start to the next one */
}
