#include "text.h"

enum { SEPARATOR, WORD, SYMBOL, SINGLE };
#define LONGEST_WORD 64
#define APOSTROPHE 0x27
static const uint64_t BASE = 0x9E3779B97F4A7C15u, LINK = 0xD6E8FEB86659FD93u;
static const uint32_t BROKEN = UINT32_MAX;

/* Finaliser of SplitMix64. */
static inline uint64_t mix(uint64_t hash)
{
    hash = (hash ^ (hash >> 30)) * 0xBF58476D1CE4E5B9u;
    hash = (hash ^ (hash >> 27)) * 0x94D049BB133111EBu;
    return hash ^ (hash >> 31);
}

/* Decode the code point at *place and step over it; BROKEN where there is none. */
static inline uint32_t next_code_point(const uint8_t **place, const uint8_t *end)
{
    const uint8_t *p = *place;
    uint32_t first = *p++;
    if (first < 0x80) {
        *place = p;
        return first;
    }
    int n_more = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
    if (first < 0xC0 || first > 0xF4 || end - p < n_more)
        return BROKEN;
    uint32_t code = first & (0x3Fu >> n_more);
    for (int i = 0; i < n_more; i++, p++) {
        if ((*p & 0xC0) != 0x80)
            return BROKEN;
        code = code << 6 | (*p & 0x3F);
    }
    *place = p;
    return code < N_CODE_POINTS ? code : BROKEN;
}

int64_t token_hashes(const uint8_t *utf8, size_t n_bytes, letter_table table, uint64_t *hashes)
{
    const uint8_t *place = utf8, *end = utf8 + n_bytes;
    int64_t n_tokens = 0;
    uint64_t sum = 0, power = 1;
    int length = 0;      /* of the word so far */
    int after_word = 0;  /* whether the code point before this one is of class word by the table */
    while (place < end) {
        uint32_t code = next_code_point(&place, end);
        if (code == BROKEN)
            return -1;
        code = table.lower[code];
        int class = table.classes[code];
        int in_word = class == WORD;
        if (code == APOSTROPHE && after_word && place < end) {
            const uint8_t *ahead = place;
            uint32_t next = next_code_point(&ahead, end);
            if (next == BROKEN)
                return -1;
            in_word = table.classes[table.lower[next]] == WORD;
        }
        after_word = class == WORD;
        if (length && (!in_word || length == LONGEST_WORD)) {
            hashes[n_tokens++] = mix(sum);
            length = 0;
        }
        if (in_word) {
            if (!length)
                sum = 0, power = 1;
            sum += (uint64_t)(code + 1) * power;
            power *= BASE;
            length++;
        } else if (class >= SYMBOL) {
            hashes[n_tokens++] = mix((uint64_t)code + 1);
        }
    }
    if (length)
        hashes[n_tokens++] = mix(sum);
    return n_tokens;
}

int64_t ngram_buckets(const uint64_t *hashes, uint64_t *grams, int64_t n_words, int ngrams, int bits,
                      uint32_t *buckets)
{
    int shift = 64 - bits;
    int64_t n_written = 0;
    for (int64_t i = 0; i < n_words; i++) {
        grams[i] = hashes[i];
        buckets[n_written++] = (uint32_t)(hashes[i] >> shift);
    }
    for (int n = 2; n <= ngrams; n++)
        for (int64_t i = 0; i + n <= n_words; i++) {
            grams[i] = mix(grams[i] * LINK + hashes[i + n - 1]);
            buckets[n_written++] = (uint32_t)(grams[i] >> shift);
        }
    return n_written;
}
