#include "normal_form.h"

#include <stdlib.h>
#include <string.h>

#include "extensions.h"

enum { BEGINS = 253, REMOVED = 254 }; /* marks; so is one more, of what needs more than to be folded */
#define IOTA_BELOW 0x345
#define IOTA 0x3B9
#define FEW_MARKS 16

/* Of Hangul; FINALS is one before the first. */
enum { LEADS = 0x1100, VOWELS = 0x1161, FINALS = 0x11A7, SYLLABLES = 0xAC00 };
enum { N_LEADS = 19, N_VOWELS = 21, N_FINALS = 28, N_SYLLABLES = N_LEADS * N_VOWELS * N_FINALS };

uint32_t next_code_point(const uint8_t **place, const uint8_t *end)
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

/* Whether a text is normal once each code point is folded, or no UTF-8. */
HOT static int is_normal(const unicode_table *table, const uint8_t *place, const uint8_t *end)
{
    int last = 0;
    while (place < end) {
        uint64_t eight;
        while (end - place >= 8 && (memcpy(&eight, place, 8), !(eight & 0x8080808080808080u))) {
            place += 8;
            last = 0;
        }
        if (place == end)
            break;
        uint32_t code = next_code_point(&place, end);
        if (code == BROKEN)
            return 1;
        int mark = table->marks[code];
        if (mark >= BEGINS || (mark && mark < last))
            return 0;
        last = mark;
    }
    return 1;
}

/* Step 1: point to the letters of a code point; returns their number. `folded` is room for one. */
static int64_t expand(const unicode_table *table, uint32_t code, uint32_t *folded, const uint32_t **letters)
{
    *folded = table->folded[code];
    *letters = folded;
    if (table->marks[code] == REMOVED)
        return 0;
    uint32_t forms[2] = {code, *folded};
    for (int k = 0; k < 2; k++) {
        int64_t low = 0, high = table->n_expanded;
        while (low < high) {
            int64_t middle = (low + high) / 2;
            if (table->expanded[middle] < forms[k])
                low = middle + 1;
            else
                high = middle;
        }
        if (low < table->n_expanded && table->expanded[low] == forms[k]) {
            *letters = table->expansion_letters + table->expansion_offsets[low];
            return table->expansion_offsets[low + 1] - table->expansion_offsets[low];
        }
    }
    return 1;
}

/* Sort a run of letters by their combining class; equal ones stay in order. `spare` has as much room. */
static void sort_marks(const unicode_table *table, uint32_t *letters, int64_t n, uint32_t *spare)
{
    if (n <= FEW_MARKS) {
        for (int64_t i = 1; i < n; i++) {
            uint32_t letter = letters[i];
            int64_t k = i;
            for (; k > 0 && table->combining[letters[k - 1]] > table->combining[letter]; k--)
                letters[k] = letters[k - 1];
            letters[k] = letter;
        }
        return;
    }
    int64_t starts[257] = {0};
    for (int64_t i = 0; i < n; i++)
        starts[table->combining[letters[i]] + 1]++;
    for (int k = 0; k < 256; k++)
        starts[k + 1] += starts[k];
    for (int64_t i = 0; i < n; i++)
        spare[starts[table->combining[letters[i]]]++] = letters[i];
    memcpy(letters, spare, (size_t)n * sizeof *letters);
}

/* What a pair of code points becomes; 0 if it stays. */
static uint32_t join(const unicode_table *table, uint32_t first, uint32_t second)
{
    if (first - LEADS < N_LEADS && second - VOWELS < N_VOWELS)
        return SYLLABLES + ((first - LEADS) * N_VOWELS + second - VOWELS) * N_FINALS;
    if (first - SYLLABLES < N_SYLLABLES && (first - SYLLABLES) % N_FINALS == 0 && second > FINALS &&
        second < FINALS + N_FINALS)
        return first + second - FINALS;
    uint64_t pair = (uint64_t)first << 32 | second;
    int64_t low = 0, high = table->n_pairs;
    while (low < high) {
        int64_t middle = (low + high) / 2;
        if (table->pairs[middle] < pair)
            low = middle + 1;
        else
            high = middle;
    }
    return low < table->n_pairs && table->pairs[low] == pair ? table->composites[low] : 0;
}

/* Steps 2 to 4 for the n letters of a segment, in place; returns their new number. */
static int64_t order_and_compose(const unicode_table *table, uint32_t *letters, int64_t n, uint32_t *spare)
{
    for (int64_t first = 0, i = 0; i <= n; i++)
        if (i == n || !table->combining[letters[i]]) {
            sort_marks(table, letters + first, i - first, spare);
            first = i + 1;
        }
    int64_t n_composed = 0, starter = -1;
    int last = 0; /* class of the last letter after the starter, -1 for none */
    for (int64_t i = 0; i < n; i++) {
        uint32_t letter = letters[i] == IOTA_BELOW ? IOTA : letters[i], joined;
        int class = table->combining[letter];
        if (starter >= 0 && (last < class || last < 0) && (joined = join(table, letters[starter], letter))) {
            letters[starter] = joined;
            continue;
        }
        last = class ? class : -1;
        starter = class ? starter : n_composed;
        letters[n_composed++] = letter;
    }
    return n_composed;
}

static size_t encode(uint32_t code, uint8_t *out)
{
    if (code < 0x80) {
        *out = (uint8_t)code;
        return 1;
    }
    int n_more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    out[0] = (uint8_t)((0xFF00u >> (n_more + 1) & 0xFF) | code >> 6 * n_more);
    for (int i = 1; i <= n_more; i++)
        out[i] = (uint8_t)(0x80 | (code >> 6 * (n_more - i) & 0x3F));
    return (size_t)n_more + 1;
}

static int make_room(normal_form *form, int64_t n)
{
    if (n <= form->room)
        return 0;
    int64_t room = 2 * n;
    uint8_t *bytes = realloc(form->bytes, (size_t)room * 4);
    form->bytes = bytes ? bytes : form->bytes;
    uint32_t *letters = realloc(form->letters, (size_t)room * sizeof *letters);
    form->letters = letters ? letters : form->letters;
    int64_t *origins = realloc(form->origins, (size_t)room * sizeof *origins);
    form->origins = origins ? origins : form->origins;
    if (!bytes || !letters || !origins)
        return -1;
    form->room = room;
    return 0;
}

int normalise_text(const unicode_table *table, const char **utf8, size_t *size, normal_form *form)
{
    const uint8_t *place = (const uint8_t *)*utf8, *end = place + *size;
    if (is_normal(table, place, end))
        return 0;
    int64_t n = 0, first = 0; /* letters so far; the first code point of the segment */
    while (place < end) {
        const uint8_t *segment = place, *next = place;
        const uint32_t *expansion;
        uint32_t folded;
        int64_t n_codes = 0, n_expanded = 0;
        int last = 0, changes = 0;
        while (next < end) {
            uint32_t code = next_code_point(&next, end);
            if (code == BROKEN)
                return 0;
            int mark = table->marks[code];
            if ((!mark || mark == BEGINS) && n_codes)
                break;
            changes = changes || mark >= BEGINS || (mark && mark < last);
            last = mark;
            n_codes++;
            n_expanded += expand(table, code, &folded, &expansion);
            place = next;
        }
        if (make_room(form, n + (n_expanded > n_codes ? n_expanded : n_codes)))
            return -1;
        int64_t start = n;
        for (int64_t i = 0; i < n_codes; i++) {
            uint32_t code = next_code_point(&segment, end);
            if (changes) {
                int64_t n_letters = expand(table, code, &folded, &expansion);
                memcpy(form->letters + n, expansion, (size_t)n_letters * sizeof *expansion);
                n += n_letters;
            } else {
                form->origins[n] = first + i;
                form->letters[n++] = table->folded[code];
            }
        }
        if (changes) {
            n = start + order_and_compose(table, form->letters + start, n - start, (uint32_t *)form->bytes);
            for (int64_t i = start; i < n; i++)
                form->origins[i] = first;
        }
        first += n_codes;
    }
    form->n_letters = n;
    form->n_code_points = first;
    size_t n_bytes = 0;
    for (int64_t i = 0; i < n; i++)
        n_bytes += encode(form->letters[i], form->bytes + n_bytes);
    *utf8 = (const char *)form->bytes;
    *size = n_bytes;
    return 1;
}

void free_normal_form(normal_form *form)
{
    free(form->bytes);
    free(form->letters);
    free(form->origins);
}
