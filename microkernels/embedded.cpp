#include "microkernels/embedded.h"

#include "base/error.h"

namespace mattec::microkernels {

#define MATTEC_OBJECT(name)            \
  extern const uint8_t name##_bytes[]; \
  extern const size_t name##_size;
#include "embedded_objects.inc"
#undef MATTEC_OBJECT

runtime::Embedded object(const std::string& name) {
#define MATTEC_OBJECT(known) \
  if (name == #known) return {known##_bytes, known##_size};
#include "embedded_objects.inc"
#undef MATTEC_OBJECT
  throw Error("this mattec was built without the micro-kernel " + name +
              "; install Clang (scripts/setup --tests) and build mattec again");
}

}  // namespace mattec::microkernels
