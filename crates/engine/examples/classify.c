/* Classifies images: prints the five best classes of each as lines of image, class and score.
 *
 *   cargo rustc --release -p sparse-engine --features cdylib --crate-type cdylib
 *   cc -O2 -std=c99 -I crates/engine/include crates/engine/examples/classify.c \
 *      -L target/release -l sparse_engine -Wl,-rpath,target/release -o classify
 *   ./classify MODEL [IMAGES]
 *
 * MODEL is a file of weights or ONNX. IMAGES, or else stdin, is raw float32 numbers in the byte order of this machine:
 * [N][channels][height][width], normalised as in training.
 */
#include <sparse_engine.h>
#include <stdio.h>
#include <stdlib.h>

#define BEST 5

struct score {
    size_t index;
    float value;
};

static int higher_first(const void *a, const void *b) {
    const struct score *x = (const struct score *)a, *y = (const struct score *)b;
    if (x->value != y->value) {
        return x->value < y->value ? 1 : -1;
    }
    return x->index > y->index ? 1 : -1;
}

static int fail(const char *what) {
    fprintf(stderr, "classify: %s\n", what);
    return EXIT_FAILURE;
}

static void print_best(size_t image, const float *outputs, struct score *scores, size_t classes) {
    size_t i;
    for (i = 0; i < classes; i++) {
        scores[i].index = i;
        scores[i].value = outputs[i];
    }
    qsort(scores, classes, sizeof *scores, higher_first);
    for (i = 0; i < classes && i < BEST; i++) {
        printf("%lu\t%lu\t%.9g\n", (unsigned long)image, (unsigned long)scores[i].index, (double)scores[i].value);
    }
}

/* One image after the other, as they come. */
static int classify(const sparse_engine *engine, FILE *file) {
    size_t shape[3], numbers, read, image = 0, classes = sparse_engine_outputs(engine);
    sparse_engine_session *session = sparse_engine_session_new(engine);
    float *pixels, *outputs = (float *)malloc(classes * sizeof *outputs);
    struct score *scores = (struct score *)malloc(classes * sizeof *scores);
    int status = EXIT_SUCCESS;

    sparse_engine_input_shape(engine, shape);
    numbers = shape[0] * shape[1] * shape[2];
    pixels = (float *)malloc(numbers * sizeof *pixels);
    if (session == NULL || pixels == NULL || outputs == NULL || scores == NULL) {
        status = fail(session == NULL ? sparse_engine_last_error() : "no memory");
    }
    while (status == EXIT_SUCCESS && (read = fread(pixels, sizeof *pixels, numbers, file)) > 0) {
        if (read < numbers) {
            status = fail("the last image is not complete");
        } else if (sparse_engine_run(session, pixels, 1, outputs) != SPARSE_ENGINE_OK) {
            status = fail(sparse_engine_last_error());
        } else {
            print_best(image++, outputs, scores, classes);
        }
    }
    free(scores);
    free(outputs);
    free(pixels);
    sparse_engine_session_free(session);
    return status;
}

int main(int count, char **arguments) {
    sparse_engine *engine;
    FILE *file = stdin;
    int status;

    if (count < 2 || count > 3) {
        return fail("usage: classify MODEL [IMAGES]");
    }
    engine = sparse_engine_load(arguments[1], 0, 0, 0);
    if (engine == NULL) {
        return fail(sparse_engine_last_error());
    }
    if (count == 3) {
        file = fopen(arguments[2], "rb");
    }
    status = file == NULL ? fail("the images cannot be opened") : classify(engine, file);
    if (file != NULL && file != stdin) {
        fclose(file);
    }
    sparse_engine_free(engine);
    return status;
}
