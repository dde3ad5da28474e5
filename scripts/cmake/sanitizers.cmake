# ESCLUSA_SANITIZE: "", "address" (with undefined behaviour and leaks) or "thread".
set(ESCLUSA_SANITIZE "" CACHE STRING "Sanitizer: address, thread, or empty")

if(ESCLUSA_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(ESCLUSA_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(NOT ESCLUSA_SANITIZE STREQUAL "")
  message(FATAL_ERROR "ESCLUSA_SANITIZE is '${ESCLUSA_SANITIZE}': address, thread, or empty")
endif()

option(ESCLUSA_COVERAGE "Instrument for gcov" OFF)
if(ESCLUSA_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
