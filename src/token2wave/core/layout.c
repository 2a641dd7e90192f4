#include "layout.h"

layout layout_of(network_shape shape)
{
    int64_t d = shape.width, p = shape.context_width, c = shape.n_classes, at = 0;
    layout l = {0};
#define TAKE(name, count) l.name = at, at += (count)
    if (shape.linear_variants) {
        TAKE(variants, 2 * d * d);
        TAKE(variants_bias, 2 * d);
    }
    if (shape.restore == RESTORE_LINEAR) {
        TAKE(restore, 2 * d * d);
        TAKE(restore_bias, d);
    }
    TAKE(norm, d);
    TAKE(norm_bias, d);
    TAKE(head, c * d);
    TAKE(head_bias, c);
    if (p) {
        TAKE(context_variants, 2 * p * wave_width(shape));
        TAKE(context_variants_bias, 2 * p);
        TAKE(context_norm, 2 * p);
        TAKE(context_norm_bias, 2 * p);
        TAKE(mix, 2 * p * p);
        TAKE(mix_bias, p);
        TAKE(context_head, c * 2 * p);
        TAKE(context_head_bias, c);
    }
    if (shape.has_linear_svm) {
        TAKE(linear_svm, c);
        TAKE(linear_svm_bias, c);
    }
#undef TAKE
    l.size = at;
    return l;
}
