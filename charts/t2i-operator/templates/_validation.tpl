{{/* What the schema cannot say. Included by the deployment, so that nothing is rendered without it. */}}
{{- define "t2i-operator.validate" -}}
{{- if .Values.namespaces -}}
{{- fail (printf "namespaces is called watchNamespaces since 0.2.0: --set 'watchNamespaces={%s}'" (join "," .Values.namespaces)) -}}
{{- end -}}
{{- /* A parent chart may put anything into global; where there is none, an unknown name is a typo. */ -}}
{{- if .Chart.IsRoot -}}
{{- range $name, $_ := .Values.global -}}
{{- if not (has $name (list "imageRegistry" "imagePullSecrets")) -}}
{{- fail (printf "global.%s is unknown: global has imageRegistry and imagePullSecrets" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
