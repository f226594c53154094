# cmake -DINPUT=file -DOUTPUT=file.cpp -DNAME=object -DNAMESPACE=runtime -P embed.cmake
# Writes a file's bytes as the arrays `NAME_bytes` and `NAME_size` of namespace mattec::NAMESPACE.
file(READ ${INPUT} bytes HEX)
string(LENGTH "${bytes}" digits)
math(EXPR size "${digits} / 2")
string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
string(REGEX REPLACE "((0x..,){20})" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include <cstddef>\n#include <cstdint>\n
namespace mattec::${NAMESPACE} {
extern const uint8_t ${NAME}_bytes[];
extern const size_t ${NAME}_size;
alignas(16) const uint8_t ${NAME}_bytes[] = {
${bytes}};
const size_t ${NAME}_size = ${size};
}  // namespace mattec::${NAMESPACE}\n")
